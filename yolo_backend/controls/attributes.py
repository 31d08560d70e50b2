"""The ``model_*`` attributes of control tags: declared as dataclass fields, read from XML, checked, documented."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

MOST_COMPARED = 1000
"""Attributes of a labeling config, by name, that are looked at for being misspelt."""

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

    def spellings(self, name: str) -> tuple[str, ...]:
        """Return the names under which the attribute ``name`` may be written, the first of which counts."""
        return (name, self.alias) if self.alias else (name,)

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
        The values that are set and usable, by field name, and a problem in words for each attribute that can't be used.
        ``owner`` names the tag in them.
    """
    values: dict[str, Any] = {}
    problems: list[str] = []
    for name, declared, _ in declared_attributes(control):
        spelling = next((s for s in declared.spellings(name) if s in attributes), None)
        if spelling is None:
            continue
        try:
            values[name] = declared.parse(attributes[spelling])
        except ValueError as error:
            problems.append(f"{owner}: {spelling}={attributes[spelling]!r} is ignored: {error}")
    return values, problems


class SpellingCheck:
    """Finds attributes of one labeling config that look like one of ours and are none.

    Comparing names is slow, and a labeling config may be full of them: of its names the first `MOST_COMPARED` are.
    """

    def __init__(self) -> None:
        """Start with no name compared."""
        self._nearest: dict[tuple[str, tuple[str, ...]], str | None] = {}

    def problems(self, attributes: Iterable[str], known: tuple[str, ...], owner: str) -> Iterator[str]:
        """Yield a problem in words for each attribute that is not ``known`` but should be; ``owner`` names the tag."""
        for name in attributes:
            if name in known:
                continue
            nearest = self._look_up(name, known)
            if nearest or name.startswith("model_"):
                hint = f"did you mean {nearest}?" if nearest else f"known are {', '.join(known)}"
                yield f"{owner}: {name} is not an attribute of this tag; {hint}"

    def _look_up(self, name: str, known: tuple[str, ...]) -> str | None:
        key = (name, known)
        if key not in self._nearest and len(self._nearest) < MOST_COMPARED:
            self._nearest[key] = next(iter(difflib.get_close_matches(name, known, 1, cutoff=0.8)), None)
        return self._nearest.get(key)


def attribute_table(control: type, *, only: Sequence[str] | None = None) -> str:
    """Return the table of the XML attributes that ``control`` declares, or of some of them, in Markdown."""
    rows = ["| attribute | default | what it does |", "| --- | --- | --- |"]
    for name, declared, default in declared_attributes(control):
        if only is not None and name not in only:
            continue
        shown = declared.default_doc or f"`{str(default).lower() if isinstance(default, bool) else default}`"
        range_doc = declared.range_doc()
        names = " or ".join(f"`{spelling}`" for spelling in declared.spellings(name))
        rows.append(f"| {names} | {shown} | {declared.doc}{f' {range_doc}.' if range_doc else ''} |")
    return "\n".join(rows)
