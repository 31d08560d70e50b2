"""Labeling config XML to its tags, as plain data."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from types import MappingProxyType

from yolo_backend.errors import ConfigError
from yolo_backend.label_studio.class_names import split_names
from yolo_backend.label_studio.fingerprint import around_threshold
from yolo_backend.label_studio.task_data import Source, has_variable

LABEL_TAGS = ("Label", "Choice")
"""Tags that name one label of the control tag around them."""

TAGS_WITH_PAGES = ("Image",)
"""Object tags that know ``valueList``; the editor passes over it on others."""


NO_ATTRIBUTES: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class Label:
    """One ``<Label>`` or ``<Choice>`` of a control tag.

    Attributes:
        value: As Label Studio stores it: the ``alias`` where there is one.
        names: Of the model's classes that stand for this label: those in ``predicted_values``, else the label's own.
        path: For nested labels the values from the outermost label to this one.
        varies: Whether each task's data names it, or a label around it, anew.
        attributes: Of the tag.
    """

    value: str
    names: tuple[str, ...]
    path: tuple[str, ...] = ()
    varies: bool = False
    attributes: Mapping[str, str] = field(default_factory=lambda: NO_ATTRIBUTES, compare=False, repr=False)

    @cached_property
    def fingerprint(self) -> tuple[str, str]:
        """What of the label changes an answer, as JSON around its threshold."""
        nested = {"path": list(self.path)} if len(self.path) > 1 else {}
        return around_threshold({"value": self.value, "names": list(self.names), **nested})


@dataclass(frozen=True, kw_only=True)
class ObjectTag:
    """A tag that shows a task's data, such as ``<Image name="image" value="$image"/>``.

    The names of its ``attributes`` are in lower case: the editor reads them in any.
    """

    tag: str
    name: str
    attributes: Mapping[str, str] = field(compare=False, repr=False)

    @property
    def source(self) -> Source:
        """Where the tag's data is."""
        pages = self.tag in TAGS_WITH_PAGES and "valuelist" in self.attributes
        return Source(value=self.attributes.get("valuelist" if pages else "value", ""), pages=pages)

    def __str__(self) -> str:
        return f'<{self.tag} name="{self.name}">'


@dataclass(frozen=True, kw_only=True, eq=False)
class ControlTag:
    """A tag that people label with, such as ``<RectangleLabels name="label" toName="image">``. Each is only equal to itself.

    Attributes:
        tag: such as ``RectangleLabels``.
        name: of the tag.
        to_name: of the object tag that it is on.
        labels: in document order.
        attributes: their names in lower case.
        repeated_on: the ``on`` of the ``<Repeater>`` around it, which makes more of it for each task.
    """

    tag: str
    name: str
    to_name: str
    labels: tuple[Label, ...]
    attributes: Mapping[str, str] = field(repr=False)
    repeated_on: str | None = None

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


MAX_ATTRIBUTES = 200
"""Attributes of a tag: several times as many as Label Studio and this service know together."""


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
    for element, repeated_on in _elements(root):
        attributes = _attributes(element)
        name = attributes.get("name")
        if name is None:
            continue
        if to_name := attributes.get("toname"):
            if len(controls) == limits.max_controls:
                raise ConfigError(
                    f"the labeling config has more control tags than MAX_CONTROLS allows ({limits.max_controls})"
                )
            labels = []
            for label in _labels(element, most_names=limits.max_labels + 1):
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
                    attributes=attributes,
                    repeated_on=repeated_on,
                )
            )
        elif "value" in attributes or "valuelist" in attributes:
            objects[name] = ObjectTag(tag=element.tag, name=name, attributes=attributes)
    return LabelingConfig(controls=tuple(controls), objects=MappingProxyType(objects))


def _elements(root: ElementTree.Element) -> Iterator[tuple[ElementTree.Element, str | None]]:
    """Yield all elements in document order, each with what the repeater around it repeats."""
    waiting: list[tuple[ElementTree.Element, str | None]] = [(root, None)]
    while waiting:
        element, repeated_on = waiting.pop()
        yield element, repeated_on
        if element.tag == "Repeater":
            repeated_on = _attributes(element).get("on", "")
        waiting += [(child, repeated_on) for child in reversed(element)]


def _attributes(element: ElementTree.Element) -> Mapping[str, str]:
    """Return the attributes of a tag as the editor reads them: names in any case, and a tag's text for its ``value``."""
    if not element.attrib and not element.text:
        return NO_ATTRIBUTES
    if len(element.attrib) > MAX_ATTRIBUTES:
        raise ConfigError(
            f"the labeling config has a <{element.tag}> with {len(element.attrib)} attributes, more than {MAX_ATTRIBUTES}"
        )
    attributes = {name.lower(): text for name, text in element.attrib.items()}
    text = (element.text or "").strip()
    if text and not len(element):
        attributes["value"] = text
    return MappingProxyType(attributes)


def _labels(
    element: ElementTree.Element, path: tuple[str, ...] = (), *, varies: bool = False, most_names: int
) -> Iterator[Label]:
    for child in element:
        attributes = _attributes(child)
        if attributes.get("toname"):  # a control tag has its own labels
            continue
        own_name, alias = attributes.get("value", ""), attributes.get("alias")
        value = alias or own_name
        below, below_varies = path, varies
        if child.tag in LABEL_TAGS and value != "":
            below, below_varies = (*path, value), varies or (not alias and has_variable(own_name))
            listed = attributes.get("predicted_values")
            names = filter(None, [own_name.strip()]) if listed is None else split_names(listed)
            yield Label(
                value=value,
                names=tuple(islice(names, most_names)),
                path=below,
                varies=below_varies,
                attributes=attributes,
            )
        yield from _labels(child, below, varies=below_varies, most_names=most_names)
