"""docs/tags.md and the code say the same; ``PYTHONPATH=. python tests/controls/test_docs.py`` writes the tables anew."""

import re

import pytest

from yolo_backend.cli.inspect import COLOURS
from yolo_backend.controls import CONTROLS, ImageControl
from yolo_backend.controls.attributes import attribute_table, declared_attributes
from yolo_backend.inference.tracking import trackers
from yolo_backend.pipeline.plan import make_plan
from yolo_backend.settings import PROJECT_DIR, Settings

# Of the editor's list of regions, as tests/e2e/test_themes.py sees it.
BACKGROUNDS = ("#fdfdfc", "#262522")
PAGE = PROJECT_DIR / "docs" / "tags.md"
EXAMPLES = sorted((PROJECT_DIR / "examples").glob("*.xml"))
_TABLE = re.compile(r"(<!-- attributes: (\w+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def table(name: str) -> str:
    """Return the table of a control, without what all controls on images have."""
    if name == ImageControl.__name__:
        return attribute_table(ImageControl) + "\n"
    control = {control.tag: control for control in CONTROLS}[name]
    common = {known for known, _, _ in declared_attributes(ImageControl)}
    own = [known for known, _, _ in declared_attributes(control) if known not in common]
    return attribute_table(control, only=own) + "\n" if own else ""


def test_the_tables_are_those_of_the_code() -> None:
    page = PAGE.read_text()
    assert page == _TABLE.sub(lambda m: m[1] + table(m[2]) + m[4], page), (
        "run: PYTHONPATH=. python tests/controls/test_docs.py"
    )
    assert {name for _, name, _, _ in _TABLE.findall(page)} == {ImageControl.__name__} | {c.tag for c in CONTROLS}


def test_what_labels_may_say_and_the_trackers_are_those_of_the_code() -> None:
    page = PAGE.read_text()
    assert all(f"`{name}`" in page for control in CONTROLS for name in control.label_attributes)
    (listed,) = re.findall(r"The library ships the trackers (.*?)\.", page, re.DOTALL)
    assert re.findall(r"`(\w+)`", listed) == list(trackers())


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_can_be_served_and_is_documented(path: object) -> None:
    example = PROJECT_DIR / "examples" / str(path)
    plan = make_plan(example.read_text(), Settings())
    assert plan.problems == ()
    assert plan.controls
    assert f"../examples/{example.name}" in PAGE.read_text()


def luminance(colour: str) -> float:
    """How bright a colour is by WCAG 2, from 0 to 1."""
    red, green, blue = (part / 255 for part in bytes.fromhex(colour.removeprefix("#")))
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in (red, green, blue)]
    return sum(part * weight for part, weight in zip(linear, (0.2126, 0.7152, 0.0722), strict=True))


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_labels_can_be_read_in_both_themes(background: str) -> None:
    written = "".join(path.read_text() for path in [*EXAMPLES, PROJECT_DIR / "README.md"])
    colours = {*re.findall(r'background="(#\w+)"', written), *COLOURS}
    assert len(colours) >= len(COLOURS)
    for colour in colours:
        dark, light = sorted([luminance(colour), luminance(background)])
        assert (light + 0.05) / (dark + 0.05) > 3.8, colour  # 3.9 is the most that is possible on both


def test_every_tag_has_an_example() -> None:
    shown = {control.tag for path in EXAMPLES for control in make_plan(path.read_text(), Settings()).controls}
    assert shown == {control.tag for control in CONTROLS}


if __name__ == "__main__":
    PAGE.write_text(_TABLE.sub(lambda m: m[1] + table(m[2]) + m[4], PAGE.read_text()))
