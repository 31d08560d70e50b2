"""Basic authentication."""

import base64
import hmac
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from flask import g

View = TypeVar("View", bound=Callable[..., object])


@dataclass(frozen=True)
class Credentials:
    """The user and password that a request must bring.

    Attributes:
        accepted: The two as bytes, in each encoding that clients use: browsers send UTF-8, Label Studio Latin-1.
    """

    accepted: tuple[tuple[bytes, bytes], ...] = field(repr=False)

    def accept(self, header: str | None) -> bool:
        """Check an ``Authorization`` header, whatever it holds, in a time that tells nothing about a near miss."""
        scheme, _, encoded = (header or "").partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            user, _, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
        except ValueError:
            return False
        right = False
        for known_user, known_password in self.accepted:
            # Both are compared always ("&", not "and"), so the time doesn't tell which one was wrong.
            right |= hmac.compare_digest(user, known_user) & hmac.compare_digest(password, known_password)
        return right


def open_to_all(view: View) -> View:
    """Mark a view that asks for no password, such as one for probes, which have none."""
    view.open_to_all = True  # type: ignore[attr-defined]  # functions have any
    return view


def is_authenticated() -> bool:
    """Tell whether the request that is being answered brought the right user and password."""
    return bool(g.get("authenticated", False))


def credentials(user: str | None = None, password: str | None = None) -> Credentials | None:
    """Return what requests must bring: the arguments, else ``BASIC_AUTH_USER`` and ``BASIC_AUTH_PASS``.

    Returns:
        None when both are missing or empty: everybody may ask.

    Raises:
        ValueError: Only one of the two is set, or the user's name has a colon, which the header has no way to carry.
    """
    user = os.environ.get("BASIC_AUTH_USER", "") if user is None else user
    password = os.environ.get("BASIC_AUTH_PASS", "") if password is None else password
    if not user and not password:
        return None
    if not user or not password:
        there, missing = ("BASIC_AUTH_USER", "BASIC_AUTH_PASS") if user else ("BASIC_AUTH_PASS", "BASIC_AUTH_USER")
        raise ValueError(f"{there} is set but {missing} is not: set both for basic auth, or neither for none")
    if ":" in user:
        raise ValueError("BASIC_AUTH_USER must not hold a colon: basic auth ends the name at the first one")
    # An environment that is not UTF-8 comes with its bytes escaped; they are kept as they were.
    accepted = [(user.encode(errors="surrogateescape"), password.encode(errors="surrogateescape"))]
    if all(ord(each) < 256 for each in user + password):
        accepted.append((user.encode("latin-1"), password.encode("latin-1")))
    return Credentials(tuple(accepted))
