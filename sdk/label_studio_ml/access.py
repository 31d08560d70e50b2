"""What a request must pass before its route sees it: the password, and that no page of another site sent it."""

import logging

from flask import Response, current_app, g, request
from werkzeug.exceptions import Forbidden, MisdirectedRequest

from label_studio_ml.answers import too_many, unauthorized
from label_studio_ml.host_names import is_allowed
from label_studio_ml.limits import client_network
from label_studio_ml.service import current_service

logger = logging.getLogger(__name__)


def client() -> str:
    """Return the client of the request, as the last of the trusted proxies (``TRUSTED_PROXIES`` of them) has seen it."""
    proxies = current_app.config["TRUSTED_PROXIES"]
    route = request.access_route
    return client_network(route[-proxies] if 0 < proxies <= len(route) else request.remote_addr)


def refuse_other_sites() -> None:
    """Refuse what a page of another site makes a browser send: it would bring the password that the browser remembers.

    Label Studio's server and other programs send none of these headers.

    Raises:
        Forbidden: A page of another site did so.
    """
    if request.method in {"GET", "HEAD", "OPTIONS"}:
        return
    origin, relation = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site")
    # Browsers tell the relation on secure connections only, but know it better than a service behind a proxy.
    is_own = (
        relation in {"same-origin", "none"} if relation else not origin or origin.partition("://")[2] == request.host
    )
    if not is_own:
        raise Forbidden("A page of another site made the browser send this request")


def refuse_unknown_hosts() -> None:
    """Refuse a request under a name that somebody outside may own, where no password keeps others away.

    Raises:
        MisdirectedRequest: The ``Host`` header holds such a name.
    """
    if current_service().credentials is None and not is_allowed(request.host, current_app.config["ALLOWED_HOSTS"]):
        raise MisdirectedRequest(
            f"Without a password this service isn't asked under the name {request.host[:100]!r}: add it to ALLOWED_HOSTS, "
            "or set BASIC_AUTH_USER and BASIC_AUTH_PASS"
        )


def authenticate() -> tuple[Response, int] | None:
    """Ask for the password where there is one; return None for a request that may go on."""
    service = current_service()
    view = current_app.view_functions.get(request.endpoint or "")
    if service.credentials is None or getattr(view, "open_to_all", False):
        return None
    header = request.headers.get("Authorization")
    if not header:
        if getattr(view, "password_optional", False):
            return None
        logger.info("%s %r: no user and password", request.method, request.path)
        return unauthorized()
    sender = client()
    if delay := service.password_guard.delay(sender):
        return too_many("wrong passwords", delay)
    if service.credentials.accept(header):
        service.password_guard.succeeded(sender)
        g.authenticated = True
        return None
    logger.info("%s %r: wrong user or password, from %s", request.method, request.path, sender)
    if service.password_guard.failed(sender):
        logger.warning("Too many wrong passwords from %s: further ones are not looked at for a while", sender)
    return unauthorized()
