"""`app` for gunicorn; `python _wsgi.py` runs it for development."""

from __future__ import annotations

from label_studio_ml.api import init_app

from model import YOLO
from yolo_backend.observability.logging import configure_logging
from yolo_backend.serving.dispatcher import get_dispatcher
from yolo_backend.serving.routes import add_routes
from yolo_backend.serving.startup import log_settings
from yolo_backend.settings import get_settings

settings = get_settings()
configure_logging(settings)
log_settings(settings)
password = settings.basic_auth_pass.get_secret_value() if settings.basic_auth_pass else None
app = init_app(model_class=YOLO, basic_auth_user=settings.basic_auth_user, basic_auth_pass=password)
add_routes(app, get_dispatcher())

if __name__ == "__main__":
    app.run(host="127.0.0.1", port=settings.port, debug=False)
