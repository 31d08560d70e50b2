"""Label Studio's two kinds of tokens.

A legacy token opens Label Studio as it is. A personal access token, the only kind that new installs allow, doesn't: it
is a JWT that has to be exchanged for an access token, which opens Label Studio for five minutes.
"""

import threading
import time
from typing import Any

import jwt
import requests
from cachetools import TLRUCache, cached

_TIMEOUT = (3.05, 10)  # seconds to connect, and between two parts of the answer
_MARGIN = 30.0  # seconds before its end at which an access token is renewed, so that it is still good when it arrives


def token_claims(token: str) -> dict[str, Any] | None:
    """Return the claims of a JWT, unverified; None for any other text."""
    try:
        return jwt.decode(token, options={"verify_signature": False})
    except (jwt.InvalidTokenError, ValueError, RecursionError):
        return None


def usable_token(hostname: str, token: str) -> str:
    """Return the token to send: an access token for a personal access token, any other token as it is.

    The exchange is made once per expiry, however many threads need it.

    Args:
        hostname: Label Studio's URL, with its sub-path where it has one.
        token: The configured token.

    Raises:
        requests.RequestException: Label Studio can't be reached or refuses the token.
    """
    if (token_claims(token) or {}).get("token_type") != "refresh":
        return token
    return _access_token(hostname, token)


def _renewal(_: Any, access: str, now: float) -> float:
    return float((token_claims(access) or {}).get("exp", now)) - _MARGIN


@cached(TLRUCache(maxsize=32, ttu=_renewal, timer=time.time), condition=threading.Condition())
def _access_token(hostname: str, token: str) -> str:
    url = f"{hostname.rstrip('/')}/api/token/refresh/"
    answer = requests.post(url, json={"refresh": token}, timeout=_TIMEOUT)
    answer.raise_for_status()
    access: str = answer.json()["access"]
    return access
