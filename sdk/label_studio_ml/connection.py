"""The address and the token of Label Studio that ``/setup`` brings for a project."""

import logging

from label_studio_ml.cache import Cache

logger = logging.getLogger(__name__)

REFUSED = "refused_hostname"
"""Key of the last address that was refused for a project; "" where there is none."""

REMEDY = (
    "If Label Studio has moved or its token has changed, set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY, or a password "
    "(BASIC_AUTH_USER and BASIC_AUTH_PASS) that makes /setup trusted, or remove cache.db from MODEL_DIR"
)


def keep_connection(cache: Cache, project: str, hostname: str, access_token: str, *, is_trusted: bool) -> bool:
    """Keep the address and the token that a ``/setup`` brought, unless they may be somebody else's.

    Anybody who reaches a service without a password can call ``/setup``. A token must not be sent to an address of somebody
    else, and tasks must not be fetched from there, so the first ones of a project stay.

    Args:
        cache: where they are kept.
        project: the project's key.
        hostname: "" for an unknown one.
        access_token: the same.
        is_trusted: the request brought the password.

    Returns:
        Whether they are the project's now.
    """
    first_host, first_token = (value or "" for value in cache.get_all(project, "hostname", "access_token"))
    is_known = bool(first_host or first_token)
    if is_trusted or not is_known or (hostname == first_host and first_token in ("", access_token)):
        cache.set_all(project, {"hostname": hostname, "access_token": access_token, REFUSED: ""})
        return True
    # Without a token is how Label Studio asks where legacy tokens are switched off.
    if hostname != first_host or access_token:
        cache.set(project, REFUSED, hostname)
        logger.error(
            "/setup brought another address or token of Label Studio for project %.60r (%.200r) than the first one "
            "(%.200r), which stays, since anybody could have sent it. %s",
            project,
            hostname,
            first_host,
            REMEDY,
        )
    return False
