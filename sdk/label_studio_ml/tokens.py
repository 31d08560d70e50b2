"""Label Studio's two kinds of tokens.

A legacy token opens Label Studio as it is. A personal access token, the only kind that new installs allow, doesn't: it
is a JWT that has to be exchanged for an access token, which opens Label Studio for five minutes.
"""

import threading
import time
from typing import Any

import jwt
import requests

from label_studio_ml.utils import InMemoryLRUDictCache

_TIMEOUT = (3.05, 10)
# Renewed a little early, so that it is still good when it arrives.
_MARGIN_SECONDS = 30.0

_exchanged = InMemoryLRUDictCache(capacity=32)
_lock = threading.Lock()


def usable_token(hostname: str, token: str) -> str:
    """Return the token to send: an access token for a personal access token, any other token as it is.

    The exchange is made once per expiry, however many threads ask.

    Args:
        hostname: Label Studio's URL, with its sub-path where it has one.
        token: What the user configured.

    Raises:
        requests.RequestException: Label Studio can't be reached or refuses the token.
    """
    if _claims(token).get("token_type") != "refresh":
        return token
    with _lock:
        access, expires = _exchanged.get((hostname, token)) or ("", 0.0)
        if time.time() > expires - _MARGIN_SECONDS:
            url = f"{hostname.rstrip('/')}/api/token/refresh/"
            answer = requests.post(url, json={"refresh": token}, timeout=_TIMEOUT)
            answer.raise_for_status()
            access = answer.json()["access"]
            _exchanged.put((hostname, token), (access, float(_claims(access).get("exp", 0))))
        return access


def _claims(token: str) -> dict[str, Any]:
    try:
        return jwt.decode(token, options={"verify_signature": False})
    except jwt.InvalidTokenError:
        return {}
