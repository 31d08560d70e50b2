"""The settings of the service: environment variables, read once and checked."""

from yolo_backend.settings.environment import environment_names as environment_names
from yolo_backend.settings.environment import get_settings as get_settings
from yolo_backend.settings.environment import load_settings as load_settings
from yolo_backend.settings.environment import settings_environment as settings_environment
from yolo_backend.settings.reference import settings_page as settings_page
from yolo_backend.settings.schema import BUNDLED_MODELS as BUNDLED_MODELS
from yolo_backend.settings.schema import PROJECT_DIR as PROJECT_DIR
from yolo_backend.settings.schema import WORKING_DIR as WORKING_DIR
from yolo_backend.settings.schema import Settings as Settings
