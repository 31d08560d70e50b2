"""Attacks by labeling configs: nothing outside is read, and little work is done for a large one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from yolo_backend.pipeline.plan import PROBLEM_LENGTH, PROBLEMS, make_plan
from yolo_backend.settings import Settings


def config(*labels: str, attributes: str = "", tag: str = "RectangleLabels") -> str:
    return f'<View><Image name="i" value="$i"/><{tag} name="c" toName="i" {attributes}>{"".join(labels)}</{tag}></View>'


LABEL = '<Label value="qr_code"/>'
LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10 if n else "lol"}">' for n in range(30))


@pytest.mark.parametrize(
    ("xml", "words"),
    [
        (f"<!DOCTYPE v [{LAUGHS}]><View>&l29;</View>", "has a DOCTYPE"),
        (f'<!DOCTYPE v [<!ENTITY a "{"x" * 100_000}">]><View>{"&a;" * 100_000}</View>', "has a DOCTYPE"),
        ('<!DOCTYPE v [<!ENTITY f SYSTEM "{file}">]><View>&f;</View>', "has a DOCTYPE"),
        ('<!DOCTYPE v [<!ENTITY f SYSTEM "{url}/x">]><View>&f;</View>', "has a DOCTYPE"),
        ('<!DOCTYPE v [<!ENTITY % f SYSTEM "{url}/x.dtd"> %f;]><View/>', "has a DOCTYPE"),
        ('<!DOCTYPE v SYSTEM "{url}/x.dtd"><View/>', "has a DOCTYPE"),
        ('<!DOCTYPE v PUBLIC "x" "{url}/x.dtd"><View/>', "has a DOCTYPE"),
        ('<?xml version="1.0"?>\n<!-- -->\n<!DOCTYPE v><View/>', "has a DOCTYPE"),
        ("<View>&undefined;</View>", "not well-formed"),
        ('<View xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="{file}" parse="text"/></View>', "no tag"),
        ('<?xml-stylesheet href="{url}/x.xsl"?><View/>', "no tag"),
        ("<View>" + "<!--" * 200_000 + "</View>", "not well-formed"),
        ("<View>" + "<![CDATA[" * 100_000 + "</View>", "not well-formed"),
        ("<a>" * 120_000 + "</a>" * 120_000, "no tag"),
        ('<?xml version="1.0" encoding="utf-7"?><View/>', ""),
        ("<View>\ud800</View>", "not well-formed"),
        (" " * 1_000_001, "has 1000001 characters, more than MAX_CONFIG_KB allows (1000)"),
        (config(*(f'<Label value="l{n}"/>' for n in range(10_000))), "more labels than MAX_LABELS allows (5000)"),
        (
            config(f'<Label value="x" predicted_values="{"a," * 400_000}"/>'),
            "more labels than MAX_LABELS allows (5000)",
        ),
        (config(*(config(LABEL) for _ in range(101))), "more control tags than MAX_CONTROLS allows (100)"),
        (config("<Choice value='a'>" * 3000, "</Choice>" * 3000, tag="Taxonomy"), "nested too deeply"),
    ],
    ids=range(1, 22),
)
def test_a_config_is_refused_with_the_reason(web: Any, tmp_path: Path, xml: str, words: str) -> None:
    (tmp_path / "secret").write_text("secret")
    given = xml.replace("{file}", f"file://{tmp_path}/secret").replace("{url}", web.url)
    plan = make_plan(given, Settings())
    assert plan.controls == ()
    assert words in plan.problems[0]
    assert "secret" not in " ".join(plan.problems).replace(str(tmp_path), "")
    assert web.asked == []


@pytest.mark.parametrize(
    ("setting", "xml"),
    [
        ({"max_labels": 1}, config(LABEL, '<Label value="b"/>')),
        ({"max_controls": 1}, config(LABEL) + ""),
        ({"max_config_kb": 0.1}, config(LABEL)),
    ],
)
def test_each_limit_is_a_setting(setting: dict[str, Any], xml: str) -> None:
    xml = xml.replace("</View>", '<Choices name="d" toName="i"/></View>') if "max_controls" in setting else xml
    assert make_plan(xml, Settings()).controls
    (problem,) = make_plan(xml, Settings(**setting)).problems
    assert f"than {next(iter(setting)).upper()} allows" in problem


@pytest.mark.parametrize(
    "xml",
    [
        config(LABEL, attributes=" ".join(f'model_x{n}="1"' for n in range(40_000))),
        config(LABEL, attributes=f'model_score_threshold="{"9" * 900_000}"'),
        config(LABEL, attributes=f'model_max_det="{"9" * 900_000}"'),
        config(LABEL, attributes=f'model_{"x" * 900_000}="1"'),
        config(f'<Label value="{"x" * 900_000}" score_threshold="a"/>'),
        config(*(f'<Label value="l{n}" model_x="1"/>' for n in range(5000))),
        config(LABEL).replace('name="c"', f'name="{"c" * 900_000}" model_iou="x"'),
    ],
    ids=["attributes", "threshold", "number", "attribute", "label", "labels", "name"],
)
def test_what_is_said_of_a_config_is_short(xml: str) -> None:
    problems = make_plan(xml, Settings()).problems
    assert problems
    assert len(problems) <= PROBLEMS + 1
    assert max(map(len, problems)) <= PROBLEM_LENGTH + 1


def test_labels_that_no_class_has_are_not_all_compared_with_all_classes() -> None:
    plan = make_plan(config(*(f'<Label value="clas nummer {n}"/>' for n in range(5000))), Settings())
    (control,) = plan.controls
    names = {number: f"class number {number}" for number in range(1000)}
    assert sum("nearest" in problem for problem in control.class_problems(names)) <= 20


@pytest.mark.parametrize(
    ("attributes", "settings", "expected"),
    [
        ('model_imgsz="8192"', {}, "model_imgsz=8192 is more than MAX_IMGSZ allows (2048), which is taken"),
        ('model_imgsz="64"', {"max_imgsz": 32}, "model_imgsz=64 is more than MAX_IMGSZ allows (32), which is taken"),
        (
            'model_max_det="9"',
            {"max_regions": 8},
            "model_max_det=9 is more than MAX_REGIONS allows (8), which is taken",
        ),
        ('model_max_det="10001"', {}, "model_max_det='10001' is ignored"),
        ('model_imgsz="1e9"', {}, "model_imgsz='1e9' is ignored"),
    ],
)
def test_a_config_asks_for_no_more_than_is_allowed(attributes: str, settings: dict[str, Any], expected: str) -> None:
    plan = make_plan(config(LABEL, attributes=attributes), Settings(**settings))
    (one,) = plan.passes
    assert expected in plan.problems[0]
    assert one.options.max_det <= settings.get("max_regions", 300)
    assert (one.options.imgsz or 0) <= settings.get("max_imgsz", 2048)
