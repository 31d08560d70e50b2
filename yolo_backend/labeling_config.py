"""Labeling config XML -> the tags in it, as plain data."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from yolo_backend.errors import ConfigError

_COMMENT = re.compile("<!--.*?-->", re.DOTALL)
LABEL_TAGS = ("Label", "Choice")
"""Tags that name one label of the control tag around them."""


@dataclass(frozen=True, kw_only=True)
class Label:
    """One ``<Label>`` or ``<Choice>`` of a control tag.

    ``value`` is what Label Studio stores: the ``alias`` where there is one. ``names`` are the names that a model's class
    may have to be this label: what ``predicted_values`` lists, else the label's own. ``path`` are the values from the
    outermost label to this one, where labels are nested.
    """

    value: str
    names: tuple[str, ...]
    path: tuple[str, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), compare=False, repr=False)


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where in a task the data of an object tag is.

    ``value`` is ``$key`` of the task's data, or the data itself; with ``pages`` it is a list of which each item is a page.
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


def parse_labeling_config(xml: str) -> LabelingConfig:
    """Read a labeling config.

    Raises:
        ConfigError: ``xml`` is not well-formed.
    """
    xml = _COMMENT.sub("", xml).strip()
    if not xml:
        raise ConfigError("the labeling config is empty: choose a template or write one in the project's settings")
    if "<!DOCTYPE" in xml or "<!ENTITY" in xml:
        raise ConfigError(
            "the labeling config has a DOCTYPE or entities: remove them, Label Studio has no use for them"
        )
    try:
        root = ElementTree.fromstring(xml)
        return _read(root)
    except RecursionError:
        raise ConfigError("the labeling config is nested too deeply") from None
    except (ElementTree.ParseError, ValueError) as error:
        raise ConfigError(f"the labeling config is not well-formed XML: {error}") from None


def _read(root: ElementTree.Element) -> LabelingConfig:
    controls, objects = [], {}
    for element in root.iter():
        name = element.get("name")
        if name is None:
            continue
        if to_name := element.get("toName"):
            controls.append(
                ControlTag(
                    tag=element.tag,
                    name=name,
                    to_name=to_name,
                    labels=tuple(_labels(element)),
                    attributes=MappingProxyType(dict(element.attrib)),
                )
            )
        elif "value" in element.attrib or "valueList" in element.attrib:
            objects[name] = ObjectTag(tag=element.tag, name=name, attributes=MappingProxyType(dict(element.attrib)))
    return LabelingConfig(controls=tuple(controls), objects=MappingProxyType(objects))


def _labels(element: ElementTree.Element, path: tuple[str, ...] = ()) -> Iterator[Label]:
    for child in element:
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
