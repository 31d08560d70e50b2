"""Basic authentication: the credentials, and which views ask for them."""

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
        """Check an ``Authorization`` header of any content, in a time that tells nothing about a near miss."""
        scheme, _, encoded = (header or "").partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            user, _, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
        except ValueError:
            return False
        accepted = False
        for known_user, known_password in self.accepted:
            # Both are always compared ("&", not "and"), so the time doesn't tell which of them was wrong.
            accepted |= hmac.compare_digest(user, known_user) & hmac.compare_digest(password, known_password)
        return accepted


def open_to_all(view: View) -> View:
    """Mark a view that asks for no password, such as one for probes, which have none."""
    view.open_to_all = True  # type: ignore[attr-defined]  # functions have any
    return view


def password_optional(view: View) -> View:
    """Mark a view that takes requests without a password too, but none with a wrong one."""
    view.password_optional = True  # type: ignore[attr-defined]
    return view


def is_authenticated() -> bool:
    """Tell whether the current request brought the right user and password."""
    return bool(g.get("authenticated", False))


def credentials(user: str | None = None, password: str | None = None) -> Credentials | None:
    """Return what requests must bring: the arguments, else ``BASIC_AUTH_USER`` and ``BASIC_AUTH_PASS``.

    Returns:
        None when both are missing or empty: no password is asked for.

    Raises:
        ValueError: Only one of the two is set, or the user's name has a colon, which the header can't carry.
    """
    user = os.environ.get("BASIC_AUTH_USER", "") if user is None else user
    password = os.environ.get("BASIC_AUTH_PASS", "") if password is None else password
    if not user and not password:
        return None
    if not user or not password:
        present, missing = ("BASIC_AUTH_USER", "BASIC_AUTH_PASS") if user else ("BASIC_AUTH_PASS", "BASIC_AUTH_USER")
        raise ValueError(f"{present} is set but {missing} is not: set both for basic auth, or neither for none")
    if ":" in user:
        raise ValueError("BASIC_AUTH_USER must not hold a colon: basic auth ends the name at the first one")
    # An environment that is not UTF-8 comes with its bytes escaped; they are kept as they were.
    accepted = [(user.encode(errors="surrogateescape"), password.encode(errors="surrogateescape"))]
    if all(ord(character) < 256 for character in user + password):
        accepted.append((user.encode("latin-1"), password.encode("latin-1")))
    return Credentials(tuple(accepted))
