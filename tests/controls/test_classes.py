import numpy as np
import pytest

from yolo_backend.controls.classes import ClassMap, label_map, match_classes
from yolo_backend.label_studio.labeling_config import Label

COCO = {0: "person", 1: "car", 2: "traffic light", 3: "Truck", 4: "cat"}
ODD = ("crème, brûlée", " stop  sign ", "\ufeffbus")


def label(value: str, *names: str) -> Label:
    return Label(value=value, names=names or (value,))


def values(classes: ClassMap) -> list[str | None]:
    return [label.value if label else None for label in classes.labels]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([], {}),
        ([label("car")], {"car": "car"}),
        ([label("Car")], {"car": "Car"}),
        ([label("Vehicle", "car", "TRUCK")], {"car": "Vehicle", "Truck": "Vehicle"}),
        ([label("Lights", "traffic light")], {"traffic light": "Lights"}),
        ([label("行人", "person")], {"person": "行人"}),
        ([label("none", "jeep", "cab")], {}),
        # The exact spelling wins over one that differs in case, wherever it stands.
        ([label("first", "CAR"), label("second", "car")], {"car": "second"}),
        # Of two that are as good, the first.
        ([label("first", "cat"), label("second", "cat")], {"cat": "first"}),
        ([label("fold", "CRÈME, BRÛLÉE"), label("seen", "cre\u0300me, bru\u0302le\u0301e")], {"crème, brûlée": "seen"}),
        ([label("blanks", "stop sign")], {" stop  sign ": "blanks"}),
        ([label("exact", " stop  sign "), label("blanks", "stop sign")], {" stop  sign ": "exact"}),
        ([label("mark", "bus")], {"\ufeffbus": "mark"}),
    ],
)
def test_labels_are_mapped_to_the_models_own_spelling(labels: list[Label], expected: dict[str, str]) -> None:
    mapped = label_map(labels, [*COCO.values(), *ODD])
    assert {name: labels[index].value for name, index in mapped.items()} == expected


def test_thresholds_are_per_label_and_no_label_means_never() -> None:
    classes = match_classes([label("car"), label("human", "person")], [0.25, 0.6], COCO, owner="tag")
    assert values(classes) == ["human", "car", None, None, None]
    assert classes.thresholds.tolist() == [0.6, 0.25, np.inf, np.inf, np.inf]
    kept = classes.kept(np.array([0.0, 0, 1, 1, 4]), np.array([0.59, 0.6, 0.25, 0.2, 0.99]))
    assert kept.tolist() == [1, 2]
    assert classes.kept(np.zeros(0), np.zeros(0)).tolist() == []


def test_a_model_with_two_classes_of_one_name_gives_both() -> None:
    classes = match_classes([label("crane")], [0.5], {0: "crane", 1: "ship", 2: "crane"}, owner="tag")
    assert values(classes) == ["crane", None, "crane"]


def test_labels_of_one_name_keep_their_own_thresholds() -> None:
    classes = match_classes([label("D", "cat"), label("D", "person")], [0.1, 0.9], COCO, owner="tag")
    assert values(classes) == ["D", None, None, None, "D"]
    assert classes.thresholds.tolist() == [0.9, np.inf, np.inf, np.inf, 0.1]


def test_labels_without_a_class_are_named_with_the_nearest_and_the_classes() -> None:
    problems = match_classes([label("Vehicle", "jeep", "truk"), label("cat")], [0.5, 0.5], COCO, owner="tag").problems
    assert problems == (
        "tag: no class 'jeep', 'truk' for label 'Vehicle'; nearest: Truck",
        "tag: classes of the model: person, car, traffic light, Truck, cat; map them with predicted_values",
    )


def test_classes_are_listed_as_they_can_be_written() -> None:
    problems = match_classes([label("Red", "red", "round")], [0.5], {0: "red, round", 1: " blue"}, owner="tag").problems
    assert problems == (
        "tag: no class 'red', 'round' for label 'Red'; nearest: 'red, round'",
        "tag: classes of the model: 'red, round', ' blue'; map them with predicted_values",
    )


@pytest.mark.parametrize("name", [" cat", "cat ", "c\u0061\u0301t", "CAT", "\ufeffcat", "ca\tt"])
def test_what_matches_is_no_problem(name: str) -> None:
    classes = match_classes([label(name.strip())], [0.5], {0: name}, owner="tag")
    assert (values(classes), classes.problems) == ([name.strip()], ())


def test_very_many_labels_without_a_class_are_counted() -> None:
    labels = [label(f"label {number}") for number in range(1000)]
    problems = match_classes(labels, [0.5] * 1000, COCO, owner="tag").problems
    assert len(problems) == 22
    assert problems[20] == "tag: 980 more labels without a class"


def test_a_label_whose_class_is_taken_is_named() -> None:
    problems = match_classes([label("one", "cat"), label("two", "cat")], [0.5, 0.5], COCO, owner="tag").problems
    assert problems[0] == "tag: label 'two': cat goes to another label"


def test_no_problem_when_all_match() -> None:
    assert match_classes([label("car")], [0.5], COCO, owner="tag").problems == ()
