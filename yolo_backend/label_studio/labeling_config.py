"""Labeling config XML to its tags, as plain data."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from yolo_backend.errors import ConfigError

LABEL_TAGS = ("Label", "Choice")
"""Tags that name one label of the control tag around them."""


@dataclass(frozen=True, kw_only=True)
class Label:
    """One ``<Label>`` or ``<Choice>`` of a control tag.

    Attributes:
        value: As Label Studio stores it: the ``alias`` where there is one.
        names: Of the model's classes that stand for this label: those in ``predicted_values``, else the label's own.
        path: For nested labels the values from the outermost label to this one.
        attributes: Of the tag.
    """

    value: str
    names: tuple[str, ...]
    path: tuple[str, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), compare=False, repr=False)

    def fingerprint(self) -> dict[str, Any]:
        """Return what of the label changes an answer, ready for JSON."""
        nested = {"path": list(self.path)} if len(self.path) > 1 else {}
        return {"value": self.value, "names": list(self.names), **nested}


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where in a task the data of an object tag is.

    Attributes:
        value: ``$key`` of the task's data, or the data itself.
        pages: The data is a list with an item for each page.
    """

    value: str
    pages: bool = False


@dataclass(frozen=True, kw_only=True)
class ObjectTag:
    """A tag that shows a task's data, such as ``<Image name="image" value="$image"/>``."""

    tag: str
    name: str
    attributes: Mapping[str, str] = field(compare=False, repr=False)

    @property
    def source(self) -> Source:
        """Where the tag's data is."""
        pages = self.attributes.get("valueList", "")
        return Source(value=pages or self.attributes.get("value", ""), pages=bool(pages))


@dataclass(frozen=True, kw_only=True)
class ControlTag:
    """A tag that people label with, such as ``<RectangleLabels name="label" toName="image">``."""

    tag: str
    name: str
    to_name: str
    labels: tuple[Label, ...]
    attributes: Mapping[str, str] = field(compare=False, repr=False)

    def __str__(self) -> str:
        return f'<{self.tag} name="{self.name}">'


@dataclass(frozen=True, kw_only=True)
class LabelingConfig:
    """The control tags of a labeling config in document order, and its object tags by name."""

    controls: tuple[ControlTag, ...]
    objects: Mapping[str, ObjectTag]

    def first_control(self, tag: str, to_name: str) -> ControlTag | None:
        """Return the first control tag of this kind on the object tag ``to_name``."""
        return next((c for c in self.controls if c.tag == tag and c.to_name == to_name), None)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of a labeling config; the defaults are those of the settings of the same names."""

    max_config_kb: float = 1000
    max_controls: int = 100
    max_labels: int = 5000


class _DoctypeRefusingBuilder(ElementTree.TreeBuilder):
    """Stops at a DOCTYPE, before its declarations are read: they may define entities and name other files."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ConfigError("the labeling config has a DOCTYPE: remove it, Label Studio has no use for it")


def parse_labeling_config(xml: str, limits: Limits | None = None) -> LabelingConfig:
    """Read a labeling config.

    Raises:
        ConfigError: ``xml`` is not well-formed, or exceeds a limit.
    """
    limits = limits or Limits()
    if len(xml) > limits.max_config_kb * 1000:
        raise ConfigError(
            f"the labeling config has {len(xml)} characters, more than MAX_CONFIG_KB allows ({limits.max_config_kb:g})"
        )
    xml = xml.strip()
    if not xml:
        raise ConfigError("the labeling config is empty: choose a template or write one in the project's settings")
    try:
        root = ElementTree.fromstring(xml, ElementTree.XMLParser(target=_DoctypeRefusingBuilder()))
        return _read(root, limits)
    except RecursionError:
        raise ConfigError("the labeling config is nested too deeply") from None
    except (ElementTree.ParseError, ValueError) as error:
        raise ConfigError(f"the labeling config is not well-formed XML: {error}") from None


def _read(root: ElementTree.Element, limits: Limits) -> LabelingConfig:
    controls: list[ControlTag] = []
    objects: dict[str, ObjectTag] = {}
    names = 0
    for element in root.iter():
        name = element.get("name")
        if name is None:
            continue
        if to_name := element.get("toName"):
            if len(controls) == limits.max_controls:
                raise ConfigError(
                    f"the labeling config has more control tags than MAX_CONTROLS allows ({limits.max_controls})"
                )
            labels = []
            for label in _labels(element):
                labels.append(label)
                names += max(1, len(label.names))
                if names > limits.max_labels:
                    raise ConfigError(
                        f"the labeling config has more labels than MAX_LABELS allows ({limits.max_labels}), with the "
                        "names that predicted_values lists"
                    )
            controls.append(
                ControlTag(
                    tag=element.tag,
                    name=name,
                    to_name=to_name,
                    labels=tuple(labels),
                    attributes=MappingProxyType(dict(element.attrib)),
                )
            )
        elif "value" in element.attrib or "valueList" in element.attrib:
            objects[name] = ObjectTag(tag=element.tag, name=name, attributes=MappingProxyType(dict(element.attrib)))
    return LabelingConfig(controls=tuple(controls), objects=MappingProxyType(objects))


def _labels(element: ElementTree.Element, path: tuple[str, ...] = ()) -> Iterator[Label]:
    for child in element:
        if child.get("toName"):  # a control tag has its own labels
            continue
        own_name = child.get("value", "")
        value = child.get("alias") or own_name
        is_label = child.tag in LABEL_TAGS and value != ""
        here = (*path, value) if is_label else path
        if is_label:
            listed = child.get("predicted_values")
            names = [own_name] if listed is None else listed.split(",")
            yield Label(
                value=value,
                names=tuple(name.strip() for name in names if name.strip()),
                path=here,
                attributes=MappingProxyType(dict(child.attrib)),
            )
        yield from _labels(child, here)
