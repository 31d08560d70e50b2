"""Names of a model's classes, as labeling configs write them: how several are listed, and which mean the same."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

# Quoted as a whole, or up to the next comma that no backslash is before.
_ITEM = re.compile(
    r"""\s*(?:"([^"\\]*(?:\\.[^"\\]*)*)"|'([^'\\]*(?:\\.[^'\\]*)*)')\s*(?=,|\Z)|([^,\\]*(?:\\[,"'\\]?[^,\\]*)*)""",
    re.DOTALL,
)
_ESCAPED = re.compile(r"""\\([,"'\\])""")
SPELLINGS = 3
"""How many `spellings` a name has."""

_INVISIBLE = ("Cc", "Cf", "Cs")
"""Unicode's categories of characters that can't be seen; XML has no way to write most of them."""

_NO_CHARACTERS = "\ufffe\uffff"
"""Neither has it for these."""


def split_names(text: str) -> Iterator[str]:
    """Yield the names that ``predicted_values`` lists.

    They are separated by commas, and blanks around them don't count. A name with a comma is quoted, singly or doubly, or has
    a backslash before the comma. A backslash before a quote or a backslash takes that as it is, anywhere else it stands for
    itself.
    """
    end = -1
    while end < len(text):
        item = _ITEM.match(text, end + 1)
        assert item is not None  # the last alternative takes anything
        doubly, singly, plain = item.groups()
        quoted = singly if doubly is None else doubly
        name = plain.strip() if quoted is None else quoted
        if name or quoted is not None:
            yield _ESCAPED.sub(r"\1", name)
        end = item.end()


def quote_name(name: str) -> str:
    """Return a name as ``predicted_values`` lists it: as it is where that is clear."""
    if list(split_names(f"{name},{name}")) == [name, name]:
        return name
    quote = '"' if "'" in name and '"' not in name else "'"
    return quote + re.sub(rf"[\\{quote}]", r"\\\g<0>", name) + quote


def visible(name: str) -> str:
    """Return what can be told of a name by looking at it: composed by NFC, with single blanks and only inside."""
    seen = "".join(
        character
        for character in name
        if character.isspace() or not (character in _NO_CHARACTERS or unicodedata.category(character) in _INVISIBLE)
    )
    return " ".join(unicodedata.normalize("NFC", seen).split())


def folded(name: str) -> str:
    """Return what is `visible` of a name, whatever the case."""
    return visible(visible(name).casefold())


@lru_cache(maxsize=20_000)
def spellings(name: str) -> tuple[str, str, str]:
    """Return what is compared of a name: first it as it is, then what is `visible` of it, then that `folded`."""
    return name, visible(name), folded(name)
