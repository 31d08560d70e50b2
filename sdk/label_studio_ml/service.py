"""What an application serves: its model class, and what its requests share."""

from dataclasses import dataclass, field

from flask import Flask, current_app

from label_studio_ml.auth import Credentials, credentials
from label_studio_ml.jobs import Jobs
from label_studio_ml.limits import PasswordGuard, RateLimit
from label_studio_ml.model import LabelStudioMLBase

EXTENSION = "label_studio_ml"
"""The name under which Flask keeps the service of an application."""


@dataclass(frozen=True)
class Service:
    """What the routes of one application work with.

    Attributes:
        model_class: An instance of it is made for every request.
        credentials: What requests must bring, if anything.
        jobs: Work in the background.
        password_guard: Slows down guessing.
        untrusted_events: How many events without the password a client may send.
    """

    model_class: type[LabelStudioMLBase]
    credentials: Credentials | None
    jobs: Jobs = field(default_factory=Jobs)
    password_guard: PasswordGuard = field(default_factory=PasswordGuard)
    untrusted_events: RateLimit = field(default_factory=lambda: RateLimit(burst=50, per_second=10))


def has_service(app: Flask) -> bool:
    """Tell whether an application has its model already."""
    return EXTENSION in app.extensions


def current_service() -> Service:
    """Return the service of the application that answers the current request.

    An application that has got no model serves the base class, which makes predictions by ``predict_fn``, if any.
    """
    if not has_service(current_app):
        current_app.extensions[EXTENSION] = Service(LabelStudioMLBase, credentials())
    service: Service = current_app.extensions[EXTENSION]
    return service
