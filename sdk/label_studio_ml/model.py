"""The base class of a model behind Label Studio."""

import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, partial
from typing import Any, ClassVar, TypeVar

from label_studio_sdk._extensions.label_studio_tools.core.label_config import parse_config
from label_studio_sdk.label_interface import LabelInterface

from label_studio_ml.cache import Cache, shared_cache
from label_studio_ml.connection import keep_connection
from label_studio_ml.files import local_path, preloaded
from label_studio_ml.response import ModelResponse
from label_studio_ml.utils import first_tag, label_map
from label_studio_ml.versions import next_version

logger = logging.getLogger(__name__)

Function = TypeVar("Function", bound=Callable[..., Any])

_predict_fn: Callable[..., Any] | None = None
_update_fn: Callable[..., Any] | None = None


def predict_fn(function: Function) -> Function:
    """Let a function make the predictions, without a class: ``function(tasks, context, helper=model, **kwargs)``."""
    global _predict_fn
    _predict_fn = function
    return function


def update_fn(function: Function) -> Function:
    """Let a function learn from events, without a class: ``function(event, data, helper=model, **kwargs)``."""
    global _update_fn
    _update_fn = function
    return function


class LabelConfigError(ValueError):
    """The labeling config can't be parsed."""

    status_code = 400


class LabelStudioMLBase:
    """A model behind Label Studio. Derive from it, write ``predict`` and, for a model that learns, ``fit``.

    The service makes a new instance for every request, so expensive things (weights above all) must outlive the instance:
    in a module, a class attribute, a ``functools.cache``. Strings may be kept with ``set`` and read with ``get``: they
    belong to the project, and every worker process sees them.

    Args:
        project_id: As Label Studio names the project to a backend: "4.1795333388", the id and when the project was
            made. Two Label Studio servers both have a project 4; the whole string keeps their values apart.
        label_config: The labeling config (XML); by default the one that came with the project's last ``/setup``.

    Attributes:
        project_id: The id alone, "4", as Label Studio's API wants it; "" where it isn't known.
        project_key: The whole string; the values of ``get`` and ``set`` are kept under it.
    """

    INITIAL_MODEL_VERSION: ClassVar[str] = "0.0.1"

    CACHE_DIR: ClassVar[str | os.PathLike[str] | None] = None
    """Where ``get`` and ``set`` keep their file; None for ``MODEL_DIR``, else the user's own directory for caches."""

    def __init__(self, project_id: str | int | None = None, label_config: str | None = None) -> None:
        self.project_key = "" if project_id is None else str(project_id)
        self.project_id = self.project_key.partition(".")[0]
        self._label_config = label_config
        self.setup()

    def setup(self) -> None:
        """Prepare the instance. Called at the end of ``__init__``, for every request: keep it quick."""

    def predict(
        self,
        tasks: list[dict[str, Any]],
        context: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> ModelResponse | list[Any]:
        """Make predictions.

        Args:
            tasks: Label Studio's tasks, the data under ``data``.
            context: In interactive mode the regions drawn so far, ``{"result": [...]}``; else None.
            kwargs: Further parameters of the request.

        Returns:
            One item per task, in their order: see ``ModelResponse``. A list of such items is fine, and an empty one stands
            for no prediction on any task.
        """
        if _predict_fn is not None:
            return _predict_fn(tasks, context, helper=self, **kwargs)
        logger.warning("%s makes no predictions: write its predict() method", type(self).__name__)
        return []

    def fit(self, event: str, data: dict[str, Any], **kwargs: Any) -> Any:
        """Learn from an event. Runs in the background, one event after another.

        Args:
            event: Its name, such as ``ANNOTATION_CREATED`` or ``START_TRAINING``.
            data: The body of Label Studio's request.
            kwargs: Room for later; nothing at present.
        """
        if _update_fn is not None:
            return _update_fn(event, data, helper=self, **kwargs)
        logger.info("%s doesn't learn, so the event %s changes nothing", type(self).__name__, event)
        return None

    def on_untrusted_event(self, event: str) -> None:
        """Take notice that something may have happened to this project. Runs in the background, like ``fit``.

        Where the service asks for a password, Label Studio sends events without it, so anybody may have sent this one:
        believe nothing of it, but look at Label Studio itself, with a token of your own. Called for such events of a project
        that has been connected, and for those that ``fit`` isn't called for. By default nothing is done.

        Args:
            event: Its name, such as ``ANNOTATION_CREATED`` or ``PROJECT_UPDATED``.
        """

    # The labeling config

    @property
    def label_config(self) -> str:
        """The labeling config (XML); "" where none is known."""
        if self._label_config is None:
            self._label_config = self.get("label_config")
        return self._label_config or ""

    def use_label_config(self, label_config: str) -> None:
        """Take a labeling config, and keep it for requests that bring none."""
        self._label_config = label_config
        self.__dict__.pop("parsed_label_config", None)
        self.__dict__.pop("label_interface", None)
        self.set("label_config", label_config)

    @cached_property
    def parsed_label_config(self) -> dict[str, Any]:
        """The labeling config as a dict: the control tags by name, each with its type, objects and labels.

        Raises:
            LabelConfigError: It is no labeling config.
        """
        try:
            return parse_config(self.label_config)
        except Exception as error:
            raise self._config_error(error) from error

    @cached_property
    def label_interface(self) -> LabelInterface:
        """The labeling config as Label Studio's SDK presents it.

        Raises:
            LabelConfigError: It is no labeling config.
        """
        try:
            return LabelInterface(config=self.label_config)
        except Exception as error:
            raise self._config_error(error) from error

    def _config_error(self, error: Exception) -> LabelConfigError:
        return LabelConfigError(
            f"The labeling config of project {self.project_id or '(unknown)'} is not valid: {error}"
        )

    def get_first_tag_occurence(
        self,
        control_type: str | Iterable[str],
        object_type: str | Iterable[str],
        name_filter: Callable[[str], bool] | None = None,
        to_name_filter: Callable[[str], bool] | None = None,
    ) -> tuple[str, str, str]:
        """Find the first control tag of a type, or of several, on an object tag of a type, or of several.

        Args:
            control_type: Such as ``"RectangleLabels"``.
            object_type: Such as ``"Image"``.
            name_filter: Tells which names of control tags count.
            to_name_filter: Tells which names of object tags count.

        Returns:
            The control's name, the object's name, and the key of the task's data that the object shows.

        Raises:
            ValueError: There is none; the message lists the control tags.
        """
        return first_tag(self.parsed_label_config, control_type, object_type, name_filter, to_name_filter)

    def build_label_map(self, tag_name: str, names: Iterable[str] | Mapping[Any, str]) -> dict[str, str]:
        """Find the label for each class of the model.

        A ``<Label>`` stands for the classes that its ``predicted_values`` name, separated by commas; without them, for the
        class with the label's own name. A name that matches exactly goes before one that matches when case is ignored.

        Args:
            tag_name: The name of the control tag.
            names: The model's classes, or a dict from numbers to them.

        Returns:
            The label for every class that has one; the keys keep the model's spelling.

        Raises:
            ValueError: The labeling config has no such tag.
        """
        return label_map(self.parsed_label_config, tag_name, names)

    # Values of the project

    @property
    def cache(self) -> Cache:
        """The store behind ``get``, ``set`` and ``has``."""
        return shared_cache(self.CACHE_DIR)

    def get(self, key: str) -> str | None:
        """Return a value of this project, or None."""
        return self.cache.get(self.project_key, key)

    def set(self, key: str, value: str) -> None:
        """Keep a string for this project."""
        if not isinstance(value, str):
            raise TypeError(f"The cache keeps strings, and {key!r} is of type {type(value).__name__}: use json.dumps()")
        self.cache.set(self.project_key, key, value)

    def has(self, key: str) -> bool:
        """Tell whether this project has a value."""
        return self.cache.has(self.project_key, key)

    @property
    def model_version(self) -> str:
        """The version of predictions. A class may override it; it must load no model, since ``/setup`` reports it."""
        return self.get("model_version") or self.INITIAL_MODEL_VERSION

    def bump_model_version(self) -> str:
        """Raise the version and keep it: 0.0.1 to 0.1.0, "best-7" to "best-8", "first" to "first-1"."""
        version = next_version(self.model_version)
        self.set("model_version", version)
        logger.info("The model version of project %s is now %s", self.project_id, version)
        return version

    @property
    def extra_params(self) -> dict[str, Any]:
        """The extra parameters that a user entered when connecting the backend."""
        return json.loads(self.get("extra_params") or "{}")

    def set_extra_params(self, extra_params: Mapping[str, Any] | str | None) -> None:
        """Keep the extra parameters: a dict, or the same as JSON.

        Raises:
            ValueError: They are something else.
        """
        value = json.loads(extra_params or "{}") if isinstance(extra_params, str) else extra_params or {}
        if not isinstance(value, Mapping):
            raise ValueError(f"Extra parameters must be a JSON object, got {type(value).__name__}")
        self.set("extra_params", json.dumps(dict(value)))

    # Label Studio

    def set_label_studio(self, hostname: str, access_token: str, *, is_trusted: bool = True) -> bool:
        """Keep the address and the token of a ``/setup``, together; ``""`` for an unknown one.

        Returns:
            Whether they are the project's now: those of a request that isn't trusted don't replace the first ones.
        """
        return keep_connection(self.cache, self.project_key, hostname, access_token, is_trusted=is_trusted)

    def setup_credentials(self) -> tuple[str, str]:
        """Return the address and the token of the project's last ``/setup``; "" for an unknown one."""
        hostname, access_token = self.cache.get_all(self.project_key, "hostname", "access_token")
        return hostname or "", access_token or ""

    def get_label_studio_hostname(self) -> str:
        """Return Label Studio's URL: ``LABEL_STUDIO_URL`` or ``LABEL_STUDIO_HOST``, else that of the last ``/setup``."""
        return os.environ.get("LABEL_STUDIO_URL") or os.environ.get("LABEL_STUDIO_HOST") or self.get("hostname") or ""

    def get_label_studio_access_token(self) -> str:
        """Return the token for Label Studio's API.

        ``LABEL_STUDIO_API_KEY`` or ``LABEL_STUDIO_ACCESS_TOKEN``, else that of the last ``/setup``: the legacy token of the
        project's creator, which doesn't work where legacy tokens are switched off.
        """
        return (
            os.environ.get("LABEL_STUDIO_API_KEY")
            or os.environ.get("LABEL_STUDIO_ACCESS_TOKEN")
            or self.get("access_token")
            or ""
        )

    def get_local_path(
        self,
        url: str,
        project_dir: str | None = None,
        ls_host: str | None = None,
        ls_access_token: str | None = None,
        task_id: int | None = None,
    ) -> str:
        """Return the path of a local copy of a file: an upload, a file of Label Studio's local or cloud storage, or a URL.

        Args:
            url: As it stands in the task's data.
            project_dir: Where Label Studio's own files are, if they are on this machine.
            ls_host: Label Studio's URL; by default ``get_label_studio_hostname()``.
            ls_access_token: A legacy or personal access token; by default ``get_label_studio_access_token()``.
            task_id: The task; cloud storage needs it.

        Raises:
            FileNotFoundError: The URL needs Label Studio, and its URL or token isn't known.
            requests.RequestException: The file can't be fetched.
        """
        return local_path(
            url,
            hostname=ls_host or self.get_label_studio_hostname(),
            token=ls_access_token or self.get_label_studio_access_token(),
            project_dir=project_dir,
            task_id=task_id,
        )

    def preload_task_data(self, task: Mapping[str, Any], value: Any = None, read_file: bool = True) -> Any:
        """Replace the addresses of files in a task's data by the files' content.

        Args:
            task: The task.
            value: The part of its data to work on; by default all of it.
            read_file: False for the path of a local copy instead of the content.

        Returns:
            The value with the text (UTF-8) of every file, or its path. An address that can't be opened stays as it is.
        """
        value = task["data"] if value is None else value
        task_id = task.get("id")
        return preloaded(value, partial(self.get_local_path, task_id=task_id), task_id=task_id, read_file=read_file)

    def __repr__(self) -> str:
        """Name the class and the project."""
        return f"{type(self).__name__}(project_id={self.project_key!r})"
