"""The ``model_*`` attributes of control tags: declared as dataclass fields, read from XML, checked, documented."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

T = TypeVar("T")

_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off", "")


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """What one XML attribute may hold. ``low`` and ``high`` are inclusive."""

    kind: type
    doc: str
    low: float | None = None
    high: float | None = None
    alias: str | None = None
    default_doc: str | None = None

    def parse(self, text: str) -> Any:
        """Return the value of ``text``.

        Raises:
            ValueError: it is not of this kind or out of range; the message says what is expected.
        """
        text = text.strip()
        if self.kind is bool:
            if text.lower() not in _TRUE + _FALSE:
                raise ValueError("true or false is expected")
            return text.lower() in _TRUE
        if self.kind is str:
            return text
        expected = self.range_doc().lower()
        try:
            number = self.kind(text)
        except ValueError:
            raise ValueError(f"{expected} is expected") from None
        # Written so that NaN fails too.
        if not ((self.low is None or number >= self.low) and (self.high is None or number <= self.high)):
            raise ValueError(f"{expected} is expected")
        return number

    def range_doc(self) -> str:
        """Return which numbers are accepted, in words; nothing for what is no number."""
        if self.kind not in (int, float):
            return ""
        number = "A whole number" if self.kind is int else "A number"
        if self.low is not None and self.high is not None:
            return f"{number} from {self.low:g} to {self.high:g}"
        return f"{number} of {self.low:g} or more" if self.low is not None else number


def attribute(
    default: T,
    doc: str,
    *,
    kind: type | None = None,
    low: float | None = None,
    high: float | None = None,
    alias: str | None = None,
    default_doc: str | None = None,
) -> T:
    """Declare a dataclass field that is read from the XML attribute of the field's name (or ``alias``).

    ``kind`` is needed where the default is ``None``; ``default_doc`` says in the docs what such a default means.
    """
    declared = Attribute(kind=kind or type(default), doc=doc, low=low, high=high, alias=alias, default_doc=default_doc)
    field: T = dataclasses.field(default=default, metadata={"attribute": declared})
    return field


def declared_attributes(control: type) -> Iterator[tuple[str, Attribute, Any]]:
    """Yield name, declaration and default of each XML attribute that the dataclass ``control`` declares."""
    for field in dataclasses.fields(control):
        if "attribute" in field.metadata:
            yield field.name, field.metadata["attribute"], field.default


def read_attributes(control: type, attributes: Mapping[str, str], *, owner: str) -> tuple[dict[str, Any], list[str]]:
    """Read what ``control`` declares from a tag's XML attributes.

    Returns:
        The values that are set and usable, by field name, and a problem in words for each attribute that can't be used
        or that looks like ours but isn't known. ``owner`` names the tag in them.
    """
    values: dict[str, Any] = {}
    problems: list[str] = []
    known: list[str] = []
    for name, declared, _ in declared_attributes(control):
        spellings = [name] + ([declared.alias] if declared.alias else [])
        known += spellings
        spelling = next((s for s in spellings if s in attributes), None)
        if spelling is None:
            continue
        try:
            values[name] = declared.parse(attributes[spelling])
        except ValueError as error:
            problems.append(f"{owner}: {spelling}={attributes[spelling]!r} is ignored: {error}")
    return values, problems + unknown_attributes(attributes, known, owner)


def unknown_attributes(attributes: Iterable[str], known: Sequence[str], owner: str) -> list[str]:
    """Return a problem in words for each attribute that looks like one of ours but isn't known."""
    problems = []
    for name in attributes:
        if name in known:
            continue
        nearest = _nearest(name, tuple(known))
        if nearest or name.startswith("model_"):
            hint = f"did you mean {nearest}?" if nearest else f"known are {', '.join(known)}"
            problems.append(f"{owner}: {name} is not an attribute of this tag; {hint}")
    return problems


@lru_cache(maxsize=1024)
def _nearest(name: str, known: tuple[str, ...]) -> str | None:
    return next(iter(difflib.get_close_matches(name, known, 1, cutoff=0.8)), None)


def attribute_table(control: type, *, only: Sequence[str] | None = None) -> str:
    """Return the table of the XML attributes that ``control`` declares, or of some of them, in Markdown."""
    rows = ["| attribute | default | what it does |", "| --- | --- | --- |"]
    for name, declared, default in declared_attributes(control):
        if only is not None and name not in only:
            continue
        shown = declared.default_doc or f"`{str(default).lower() if isinstance(default, bool) else default}`"
        range_doc = declared.range_doc()
        names = f"`{name}`" + (f" or `{declared.alias}`" if declared.alias else "")
        rows.append(f"| {names} | {shown} | {declared.doc}{f' {range_doc}.' if range_doc else ''} |")
    return "\n".join(rows)
