import shutil
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Asked, WebServer, answer
from tests.support.alike import alike
from yolo_backend.inference import ModelSpec
from yolo_backend.label_studio.client import LabelStudio
from yolo_backend.pipeline.engine import Engine
from yolo_backend.pipeline.lookahead import as_completed_ahead
from yolo_backend.settings import PROJECT_DIR, Settings
from yolo_backend.tasks import PARTIAL, Prediction

IMAGES = PROJECT_DIR / "examples" / "images"
NOWHERE = LabelStudio(url=None)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """An engine that may read the sample images as Label Studio's local files."""
    return Engine(
        Settings(
            model_dir=tmp_path_factory.mktemp("data"),
            local_files_document_root=IMAGES,
            batch_size=2,
            fetch_threads=2,
            runtime="pytorch",  # which another would take over from in the middle of a test
        )
    )


def regions(predictions: Iterable[Prediction | None]) -> list[Any]:
    return [None if prediction is None else prediction.regions for prediction in predictions]


def local(name: str) -> str:
    return f"/data/local-files/?d={name}"


def rectangles(name: str, to: str = "image", attributes: str = 'model_path="demo-detect.pt"') -> str:
    labels = '<Label value="qr_code"/><Label value="barcode"/>'
    return f'<RectangleLabels name="{name}" toName="{to}" {attributes}>{labels}</RectangleLabels>'


IMAGE = '<Image name="image" value="$image"/>'
CONFIG = f"<View>{IMAGE}{rectangles('box')}</View>"


@pytest.mark.parametrize("count", [0, 1, 3, 10])
def test_work_is_begun_once_and_not_too_far_ahead(count: int) -> None:
    begun: list[int] = []
    results: dict[int, int] = {}
    with ThreadPoolExecutor(4) as pool:

        def begin() -> Iterator[tuple[int, Future[int]]]:
            for number in range(count):
                begun.append(number)
                assert len(begun) <= len(results) + 3
                yield number, pool.submit(pow, number, 2)

        for number, future in as_completed_ahead(begin(), window=3):
            results[number] = future.result()
    assert begun == list(range(count))
    assert results == {number: number * number for number in range(count)}


def test_what_takes_long_holds_up_nothing_else() -> None:
    released = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(released.wait, 30)
        begun: Iterator[tuple[int, Future[Any]]] = (
            (number, pool.submit(pow, number, 2) if number else first) for number in range(6)
        )
        ready = as_completed_ahead(begun, window=4)
        assert sorted(next(ready)[0] for _ in range(5)) == [1, 2, 3, 4, 5]
        released.set()
        assert next(ready)[0] == 0


def test_what_nobody_waits_for_any_more_is_not_begun() -> None:
    began = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        held = threading.Event()
        futures: list[Future[Any]] = [pool.submit(pow, 2, 2), pool.submit(held.wait, 30), pool.submit(began.set)]
        ready = as_completed_ahead(iter(enumerate(futures)), window=3)
        assert next(ready)[0] == 0
        ready.close()
        held.set()
    assert not began.is_set()


def test_neighbours_change_nothing(engine: Engine) -> None:
    """Whatever else is in the request, and however it is cut into batches, a task gets the same regions."""
    names = sorted(path.name for path in IMAGES.glob("*.jpg"))[:5]
    tasks = [{"id": number, "data": {"image": local(name)}} for number, name in enumerate(names)]
    plan = engine.plan(CONFIG)
    together = engine.predict(plan, tasks, NOWHERE)
    alone = [engine.predict(plan, [task], NOWHERE)[0] for task in tasks]
    backwards = engine.predict(plan, tasks[::-1], NOWHERE)[::-1]
    assert all(prediction is not None for prediction in together)
    assert alike(regions(together), regions(alone))
    assert alike(regions(together), regions(backwards))


def test_several_controls_and_images_in_one_config(engine: Engine) -> None:
    config = f"""<View>
      <Image name="a" value="$first"/><Image name="b" value="$second"/>
      {rectangles("one", "a")}
      {rectangles("two", "a", 'model_path="demo-detect.pt" model_score_threshold="0.99"')}
      {rectangles("three", "b")}</View>"""
    task = {"id": 1, "data": {"first": local("photo-01.jpg"), "second": local("photo-02.jpg")}}
    (prediction,) = engine.predict(engine.plan(config), [task], NOWHERE)
    assert prediction is not None
    found = {
        name: [region for region in prediction.regions if region["from_name"] == name]
        for name in ("one", "two", "three")
    }
    assert len(found["one"]) >= len(found["two"])
    assert {region["to_name"] for region in found["one"]} == {"a"}
    assert {region["to_name"] for region in found["three"]} == {"b"}
    assert all(region["score"] >= 0.99 for region in found["two"])
    ids = [region["id"] for region in prediction.regions]
    assert len(ids) == len(set(ids))


def test_pages_are_told_apart(engine: Engine) -> None:
    config = f'<View><Image name="image" valueList="$pages"/>{rectangles("box")}</View>'
    names = ["photo-01.jpg", "photo-02.jpg", "photo-01.jpg"]
    tasks = [{"id": 1, "data": {"pages": [local(name) for name in names]}}, {"id": 2, "data": {"pages": []}}]
    paged, empty = engine.predict(engine.plan(config), tasks, NOWHERE)
    single = engine.predict(
        engine.plan(CONFIG), [{"id": n, "data": {"image": local(name)}} for n, name in enumerate(names)], NOWHERE
    )
    assert empty is None
    assert paged is not None
    for page, prediction in enumerate(single):
        assert prediction is not None
        on_page = [region["value"] for region in paged.regions if region["item_index"] == page]
        alone = [region["value"] for region in prediction.regions]
        assert alike(on_page, alone)
    ids = [region["id"] for region in paged.regions]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    "ids", [[1, 2, 3], ["a/2", "a", "a"], ["None/1", None, None], ["\ud800", 1, 1], [{"x": 1}, [2], "3" * 10_000]]
)
def test_odd_ids_of_tasks_harm_nobody(engine: Engine, ids: list[Any]) -> None:
    tasks = [{"id": number, "data": {"image": local("photo-01.jpg")}} for number in ids]
    predictions = engine.predict(engine.plan(CONFIG), [*tasks, {"data": {}}], NOWHERE)
    regions = [region["id"] for prediction in predictions if prediction is not None for region in prediction.regions]
    assert predictions[-1] is None
    assert len(regions) == len(set(regions)) == 3 * len(predictions[0].regions if predictions[0] else [])


def regions_on(engine: Engine, shown: str, data: dict[str, Any]) -> list[dict[str, Any]]:
    """The regions on one picture, without their ids."""
    plan = engine.plan(f"<View>{shown}{rectangles('box')}</View>")
    (prediction,) = engine.predict(plan, [{"id": 1, "data": data}], NOWHERE)
    assert prediction is not None
    return [{key: value for key, value in region.items() if key != "id"} for region in prediction.regions]


@pytest.mark.parametrize(
    ("shown", "data"),
    [
        ('<Image name="image" value="/data/local-files/?d=$file"/>', {"file": "photo-01.jpg"}),
        (
            '<Image name="image" value="/data/$kind-files/?d=photo-$number.jpg"/>',
            {"kind": "local", "number.jpg": "01.jpg"},
        ),
        ('<Image name="image" value="$photos[1].url"/>', {"photos": [{"url": "x"}, {"url": local("photo-01.jpg")}]}),
        ('<Image name="image" value="$photos"/>', {"photos": [local("photo-01.jpg"), local("photo-02.jpg")]}),
        ('<Image name="image">$image</Image>', {"image": local("photo-01.jpg")}),
    ],
)
def test_the_picture_is_the_one_that_the_editor_shows(engine: Engine, shown: str, data: dict[str, Any]) -> None:
    found = regions_on(engine, shown, data)
    assert found
    assert alike(found, regions_on(engine, IMAGE, {"image": local("photo-01.jpg")}))


def test_pages_that_are_no_list_are_one_page(engine: Engine) -> None:
    found = regions_on(engine, '<Image name="image" valueList="$pages"/>', {"pages": local("photo-01.jpg")})
    alone = regions_on(engine, IMAGE, {"image": local("photo-01.jpg")})
    assert alike(found, [{**region, "item_index": 0} for region in alone])


TWO_IMAGES = f"""<View><Image name="image" value="$image"/><Image name="other" value="$other"/>
    {rectangles("box")}{rectangles("box2", to="other")}</View>"""
PAGES = f'<View><Image name="image" valueList="$pages"/>{rectangles("box")}</View>'
GOOD = local("photo-01.jpg")


@pytest.mark.parametrize(
    ("config", "data", "warning", "is_complete"),
    [
        (TWO_IMAGES, {"image": GOOD}, "$other left out: the task's data has no 'other'", True),
        (TWO_IMAGES, {"image": GOOD, "other": None}, "$other left out: the task's data has nothing in $other", True),
        (TWO_IMAGES, {"image": GOOD, "other": ""}, "$other left out: the task's data has nothing in $other", True),
        (TWO_IMAGES, {"image": GOOD, "other": local("gone.jpg")}, "$other left out: ", False),
        (TWO_IMAGES, {"image": GOOD, "other": 7}, "$other left out: ", False),
        (PAGES, {"pages": [GOOD, None]}, "page 2 of $pages left out: ", True),
        (PAGES, {"pages": ["", GOOD]}, "page 1 of $pages left out: ", True),
        (PAGES, {"pages": [GOOD, local("gone.jpg"), GOOD]}, "page 2 of $pages left out: ", False),
        (PAGES, {"pages": ["data:image/png;base64,AAAA", GOOD]}, "page 1 of $pages left out: ", False),
    ],
)
def test_a_failed_part_leaves_the_rest_of_its_task(
    engine: Engine, caplog: pytest.LogCaptureFixture, config: str, data: dict[str, Any], warning: str, is_complete: bool
) -> None:
    plan = engine.plan(config)
    (prediction,) = engine.predict(plan, [{"id": 8, "data": data}], NOWHERE)
    assert prediction is not None
    assert prediction.regions
    assert f"Task 8: {warning}" in caplog.text
    assert prediction.is_complete == is_complete
    # Another version, so that Label Studio asks again for what may come later.
    version = engine.model_version(plan)
    assert prediction.model_version == (version if is_complete else f"{version}{PARTIAL}")


@pytest.mark.parametrize("data", [{}, {"image": None, "other": local("gone.jpg")}, {"image": "", "other": None}])
def test_a_task_whose_parts_all_fail_has_no_prediction(engine: Engine, data: dict[str, Any]) -> None:
    assert engine.predict(engine.plan(TWO_IMAGES), [{"id": 9, "data": data}], NOWHERE) == [None]


def test_a_problem_of_a_config_is_logged_once(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    config = CONFIG.replace('value="qr_code"', 'value="once" predicted_values="qr_codes"')
    task = {"id": 1, "data": {"image": local("photo-01.jpg")}}
    for _ in range(3):
        engine.predict(engine.plan(config), [task], NOWHERE)
    warnings = [record.message for record in caplog.records if "qr_codes" in record.message]
    assert len(warnings) == 1
    assert "nearest: qr_code" in warnings[0]
    assert "classes of the model: qr_code, barcode" in caplog.text


@pytest.mark.parametrize(
    ("projects", "labels", "times"),
    [
        # One project, or none, and one labeling config.
        ((None, None), ("one", "one"), 1),
        (("1", "1"), ("two", "two"), 1),
        # Another project, with the same labeling config or another.
        (("1", "2"), ("three", "three"), 2),
        (("1", "2"), ("four", "five"), 2),
        # The labeling config has changed.
        (("1", "1"), ("six", "seven"), 2),
        ((None, None), ("eight", "nine"), 2),
    ],
)
def test_each_project_is_told_what_is_wrong(
    engine: Engine,
    caplog: pytest.LogCaptureFixture,
    projects: tuple[str | None, str | None],
    labels: tuple[str, str],
    times: int,
) -> None:
    task = {"id": 1, "data": {"image": local("photo-01.jpg")}}
    for project, label in zip(projects, labels, strict=True):
        config = CONFIG.replace('value="qr_code"', f'value="{label}" model_colour="red"')
        for _ in range(2):
            engine.predict(engine.plan(config, project), [task], NOWHERE)
    messages = [record.getMessage() for record in caplog.records]
    for words in ("no class", "classes of the model: qr_code, barcode", "model_colour is not an attribute"):
        said = [message for message in messages if words in message]
        assert len(said) == times
        told = dict.fromkeys(projects) if projects[0] else {}
        assert all(any(message.startswith(f"Project {project}: ") for message in said) for project in told)


def test_weights_of_another_task_are_left_out_once(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    polygons = (
        '<PolygonLabels name="p" toName="image" model_path="demo-detect.pt"><Label value="barcode"/></PolygonLabels>'
    )
    plan = engine.plan(f"<View>{IMAGE}{polygons}{rectangles('box')}</View>")
    task = {"id": 1, "data": {"image": local("photo-01.jpg")}}
    for _ in range(2):
        (prediction,) = engine.predict(plan, [task], NOWHERE)
        assert prediction is not None
        assert {region["from_name"] for region in prediction.regions} == {"box"}
    assert caplog.text.count("needs weights for segment, and demo-detect.pt are for detect") == 1


@pytest.mark.parametrize(
    ("name", "said"),
    [("/etc/x.pt", "is not allowed"), ("../x.pt", "is not allowed"), ("x.bin", "not the name of weights")],
)
def test_weights_that_are_refused_are_not_said_to_be_missing(
    engine: Engine, caplog: pytest.LogCaptureFixture, name: str, said: str
) -> None:
    plan = engine.plan(f"<View>{IMAGE}{rectangles('box', attributes=f'model_path={name!r}')}</View>")
    assert not engine.preparer.lacks_weights(plan)
    assert caplog.text == ""
    engine.preparer.warm_up(plan)
    (record,) = caplog.records
    assert said in record.message


def test_a_tag_without_labels_is_left_out(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    config = f'<View>{IMAGE}<RectangleLabels name="box" toName="image" model_path="demo-detect.pt"/></View>'
    assert engine.predict(engine.plan(config), [{"id": 1, "data": {"image": local("photo-01.jpg")}}], NOWHERE) == [None]
    assert "it has no labels" in caplog.text


def test_boxes_do_not_go_with_points_whose_weights_are_of_another_task(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    points = '<KeyPointLabels name="p" toName="image" model_path="demo-detect.pt"><Label value="a"/></KeyPointLabels>'
    plan = engine.plan(f"<View>{IMAGE}{rectangles('box')}{points}</View>")
    (prediction,) = engine.predict(plan, [{"id": 1, "data": {"image": local("photo-01.jpg")}}], NOWHERE)
    assert prediction is not None
    assert {region["from_name"] for region in prediction.regions} == {"box"}
    assert "needs weights for pose, and demo-detect.pt are for detect" in caplog.text


def test_a_point_that_the_weights_do_not_have_is_named(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    labels = '<Label value="a" model_index="0"/><Label value="b" model_index="4"/>'
    points = f'<KeyPointLabels name="p" toName="image" model_path="demo-pose.pt">{labels}</KeyPointLabels>'
    task = {"id": 1, "data": {"image": local("photo-01.jpg")}}
    (prediction,) = engine.predict(engine.plan(f"<View>{IMAGE}{points}</View>"), [task], NOWHERE)
    assert prediction is not None
    assert {region["value"]["keypointlabels"][0] for region in prediction.regions} == {"a"}
    assert caplog.text.count("label 'b': the weights have 4 points, and model_index is 4") == 1


def test_requests_at_once_share_one_model(engine: Engine) -> None:
    task = {"id": 1, "data": {"image": local("photo-01.jpg")}}
    plan = engine.plan(CONFIG)
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: engine.predict(plan, [task], NOWHERE), range(12)))
    assert all(alike(regions(answer), regions(answers[0])) for answer in answers)
    assert engine.models.get(ModelSpec(weights="demo-detect.pt")) is engine.models.get(
        ModelSpec(weights="demo-detect.pt")
    )


def test_replaced_weights_are_noticed(tmp_path: Path) -> None:
    settings = Settings(model_root=tmp_path, model_dir=tmp_path, local_files_document_root=IMAGES)
    engine = Engine(settings)
    plan = engine.plan(CONFIG.replace("demo-detect.pt", "mine.pt"))
    task = {"id": 1, "data": {"image": local("photo-01.jpg")}}
    assert engine.predict(plan, [task], NOWHERE) == [None]
    missing = engine.model_version(plan)
    content = (PROJECT_DIR / "models" / "demo-detect.pt").read_bytes()
    (tmp_path / "mine.pt").write_bytes(content)
    (prediction,) = engine.predict(plan, [task], NOWHERE)
    assert prediction is not None
    assert engine.model_version(plan) != missing
    (tmp_path / "mine.pt").write_bytes(content[: len(content) // 2])
    assert engine.predict(plan, [task], NOWHERE) == [None]


def test_requests_end_with_the_weights_that_they_began_with(tmp_path: Path, web: WebServer) -> None:
    released, asked = threading.Event(), threading.Event()

    def send(handler: BaseHTTPRequestHandler, _: Asked) -> None:
        asked.set()
        released.wait(30)
        answer(handler, (IMAGES / "photo-01.jpg").read_bytes())

    web.routes["/late.jpg"] = send
    engine = Engine(Settings(model_root=tmp_path, model_dir=tmp_path, local_files_document_root=IMAGES))
    plan = engine.plan(CONFIG.replace("demo-detect.pt", "mine.pt"))
    mine = shutil.copy(PROJECT_DIR / "models" / "demo-detect.pt", tmp_path / "mine.pt")
    old = engine.model_version(plan)
    tasks = [{"id": 1, "data": {"image": f"{web.url}/late.jpg"}}]
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(engine.predict, plan, tasks, NOWHERE)
        assert asked.wait(30)
        # These find boxes as well, of the same classes.
        shutil.copy(PROJECT_DIR / "models" / "demo-segment.pt", mine)
        released.set()
        (prediction,) = running.result(30)
    assert prediction is not None
    assert prediction.model_version == old != engine.model_version(plan)
    (again,) = engine.predict(plan, tasks, NOWHERE)
    assert again is not None
    assert again.model_version == engine.model_version(plan)
    assert again.regions != prediction.regions


def test_pictures_can_be_plotted_for_debugging(tmp_path: Path) -> None:
    engine = Engine(Settings(model_dir=tmp_path, local_files_document_root=IMAGES, debug_plot=True))
    engine.predict(engine.plan(CONFIG), [{"id": "4/2", "data": {"image": local("photo-01.jpg")}}], NOWHERE)
    (plot,) = (tmp_path / "debug").iterdir()
    assert plot.name == "task-4_2-0-demo-detect.jpg"
    assert plot.stat().st_size > 10_000
