"""What Label Studio's editor draws for any kind of region, read off its page."""

from __future__ import annotations

import base64
import io
from typing import Any

import cv2
import numpy as np
from PIL import Image
from playwright.sync_api import Page
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from .browser import BEFORE_RELOAD, PATIENCE, PICTURE
from .drawings import Drawing, Point, Shape, Size, covered
from .label_studio import Json, LabelStudio

# Videos have their timeline below them.
VIEWPORT = (1280, 1000)

_REGIONS = "window.Htx?.annotationStore?.selected?.regions"

# Every region that is on the canvas: its label, its parent's, and in pixels of the screen its outline, the one point
# that it is, or the picture of what was painted with the place of that. An outline's points go around it.
_DRAWN = """() => {
    const regions = Htx.annotationStore.selected.regions;
    const label = region => region.labels.join();
    const on_screen = (node, points) => {
        const transform = node.getAbsoluteTransform(), {x: left, y: top} = node.getStage().container().getBoundingClientRect();
        return points.map(point => transform.point(point)).map(({x, y}) => [left + x, top + y]);
    };
    const around = Array.from({length: 90}, (_, step) => step * Math.PI / 45);
    const outline = {
        Rect: node => [[0, 0], [1, 0], [1, 1], [0, 1]].map(([x, y]) => ({x: x * node.width(), y: y * node.height()})),
        Ellipse: node => around.map(a => ({x: node.radiusX() * Math.cos(a), y: node.radiusY() * Math.sin(a)})),
        Line: node => node.points().flatMap((x, i, all) => i % 2 ? [] : [{x, y: all[i + 1]}]),
        Circle: node => [{x: 0, y: 0}],
    };
    const drawn = node => {
        if (node.getClassName() === "Layer") {
            const {x, y} = node.getStage().container().getBoundingClientRect();
            return {painted: node.getCanvas()._canvas.toDataURL(), origin: [x, y]};
        }
        const shape = node.getClassName() === "Group" ? node.findOne("Line") : node;
        return {outline: on_screen(shape, outline[shape.getClassName()](shape))};
    };
    return regions.flatMap(region => {
        const parent = regions.find(one => region.parentID && [one.id, one.cleanId].includes(region.parentID));
        const names = [region.id, region.cleanId];
        const is_its = node => node.isVisible() && [node.id(), ...node.name().split(" ")].some(name => names.includes(name));
        const nodes = Konva.stages.map(stage => stage.findOne(is_its)).filter(Boolean);
        return nodes.map(node => ({label: label(region), parent: parent ? label(parent) : "", ...drawn(node)}));
    });
}"""

# The picture and the regions move while the page is laid out. Until the picture is there, the largest image is the
# task's thumbnail in the list.
_AT_REST = f"""() => {{
    const picture = ({PICTURE})(), now = JSON.stringify([picture, ({_DRAWN})()]);
    const before = window.lastSeenByTests;
    window.lastSeenByTests = now;
    return Math.max(picture.width, picture.height) > 100 && now === before;
}}"""

# The ranges of a timeline: the label of the row, the first and the last frame, by where its bar is on the screen. A bar goes
# from the middle of its first frame to the middle of its last. Empty until the timeline is there.
_TIMELINE = """() => {
    const frames = document.querySelector(".lsf-timeline-frames");
    if (!frames) return [];
    const style = getComputedStyle(frames);
    const step = parseFloat(style.getPropertyValue("--frame-size")), offset = parseFloat(style.getPropertyValue("--offset"));
    const {x: left} = document.querySelector(".lsf-timeline-frames__filler").getBoundingClientRect();
    const frame = x => Math.round((x - left - offset) / step + 0.5);
    return [...document.querySelectorAll(".lsf-keypoints_timeline")].flatMap(row =>
        [...row.querySelectorAll(".lsf-keypoints__lifespan")].map(bar => bar.getBoundingClientRect()).map(({x, width}) => [
            row.querySelector(".lsf-keypoints__name").textContent, frame(x), frame(x + width),
        ]));
}"""

# The video's picture is what is not transparent of the canvas below that of the regions.
_VIDEO = """() => {
    const canvas = [...document.querySelectorAll("canvas")].find(one => !one.closest(".konvajs-content"));
    const {x, y} = canvas.getBoundingClientRect();
    return {x, y, pixels: canvas.toDataURL()};
}"""

_OBJECT_TAG = "[...Htx.annotationStore.selected.names.values()].find(tag => tag.type === '{type}')"


class TagEditor:
    """The page on which a task is labelled, for regions of any kind."""

    def __init__(self, page: Page, label_studio: LabelStudio) -> None:
        self.page = page
        self._url = label_studio.url
        width, height = VIEWPORT
        page.set_viewport_size({"width": width, "height": height})

    def open(self, project: int, task: int, *, regions: int, stream: bool = False) -> None:
        """Open a task and wait until the editor has this many regions.

        ``stream`` leaves out the list of tasks, as when all tasks are labelled one after the other.
        """
        self.page.goto(f"{self._url}/projects/{project}/data?task={task}" + ("&labeling=1" if stream else ""))
        there = f"() => {_REGIONS}?.length === {regions} && [...document.images].every(image => image.complete)"
        try:
            self.page.wait_for_function(there, timeout=BEFORE_RELOAD)
        except PlaywrightTimeout:
            # Opened right after another project's page, a task sometimes shows before its predictions have come.
            self.page.reload()
            self.page.wait_for_function(there, timeout=PATIENCE)

    def serialized(self) -> list[dict[str, Json]]:
        """The regions as the editor would save them now."""
        return self.page.evaluate("() => Htx.annotationStore.selected.serializeAnnotation()")

    # Pictures

    def drawing(self, size: Size, *, regions: int) -> Drawing:
        """What is drawn over the picture, once as many regions are; ``size`` is the picture's."""
        self.page.wait_for_function(f"() => ({_DRAWN})().length === {regions}", timeout=PATIENCE)
        # Brushes are painted a moment after they are there.
        self.page.wait_for_function(
            "() => Htx.annotationStore.selected.regions.every(one => one.type !== 'brushregion' || one.imageData)",
            timeout=PATIENCE,
        )
        self.page.wait_for_function(_AT_REST, polling=250, timeout=PATIENCE)
        return self._drawing(size, self.page.evaluate(PICTURE))

    def painted(self, size: Size) -> np.ndarray:
        """The mask, in pixels of the picture, of what looks different when all regions are hidden."""
        picture = self.page.evaluate(PICTURE)
        shown = self._screen()
        self._hide_or_show()
        hidden = self._screen()
        self._hide_or_show()
        changed = (np.abs(shown - hidden).max(2) > 6).astype(np.uint8)
        return _from_screen(changed, (0, 0), picture, size) > 0

    def turn_to_page(self, index: int) -> None:
        """Show the page of this index, from 0, of several."""
        self.page.evaluate(f"() => {_OBJECT_TAG.format(type='image')}.setCurrentImage({index})")
        self.page.wait_for_function("() => [...document.images].every(image => image.complete)")

    def _screen(self) -> np.ndarray:
        # Away from the picture, or what is under the pointer is highlighted.
        self.page.mouse.move(*(side - 1 for side in VIEWPORT))
        pixels = self.page.screenshot(animations="disabled")
        return np.array(Image.open(io.BytesIO(pixels)).convert("RGB")).astype(int)

    def _hide_or_show(self) -> None:
        self.page.evaluate(
            """async () => {
                Htx.annotationStore.selected.regions.forEach(region => region.toggleHidden());
                await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
            }"""
        )

    def _drawing(self, size: Size, picture: dict[str, float]) -> Drawing:
        drawing = Drawing()
        for drawn in self.page.evaluate(_DRAWN):
            if "painted" in drawn:
                opaque = _png(drawn["painted"])[:, :, 3]
                mask = _from_screen(opaque, drawn["origin"], picture, size) > 0
                drawing.shapes.append(Shape(label=drawn["label"], mask=mask))
                continue
            outline = (np.array(drawn["outline"]) - (picture["x"], picture["y"])) / picture["scale"]
            if len(outline) == 1:
                ((x, y),) = outline.tolist()
                drawing.points.append(Point(label=(drawn["parent"], drawn["label"]), x=x, y=y))
            else:
                drawing.shapes.append(Shape(label=drawn["label"], mask=covered(outline, size)))
        return drawing

    # Choices

    def chosen(self) -> list[str]:
        """The choices that are ticked, and the items that are in the taxonomy's field."""
        return self.page.evaluate(
            """() => {
                const ticked = document.querySelectorAll(".ant-checkbox-input:checked, .ant-radio-input:checked");
                const items = document.querySelectorAll(".htx-taxonomy .ant-select-selection-item-content");
                return [...[...ticked].map(box => box.name), ...[...items].map(item => item.textContent)];
            }"""
        )

    # Videos

    def go_to_frame(self, frame: int) -> None:
        """Show the frame of this number, from 1, and wait until it is on the screen."""
        video = _OBJECT_TAG.format(type="video")
        self.page.wait_for_function(f"() => {video}.length > 1", timeout=PATIENCE)
        self.page.evaluate(f"() => {video}.setFrame({frame})")
        self.page.wait_for_function(
            f"() => {video}.frame === {frame} && [...document.querySelectorAll('video')].every(one => !one.seeking)"
        )
        self.page.evaluate(
            "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))"
        )

    def frame_drawing(self, size: Size) -> tuple[Drawing, np.ndarray]:
        """What is drawn over the frame that is shown, and its pixels (height, width, 3), RGB, in ``size``."""
        canvas = self.page.evaluate(_VIDEO)
        pixels = _png(canvas["pixels"])
        left, top, width, _ = cv2.boundingRect((pixels[:, :, 3] > 127).astype(np.uint8))
        picture = {"x": canvas["x"] + left, "y": canvas["y"] + top, "scale": width / size[0]}
        frame = _from_screen(pixels[:, :, :3], (canvas["x"], canvas["y"]), picture, size)
        return self._drawing(size, picture), frame

    def timeline(self) -> list[tuple[str, int, int]]:
        """Label, first and last frame of each bar of the timeline."""
        self.page.wait_for_function(f"() => ({_TIMELINE})().length > 0", timeout=PATIENCE)
        return [(label, first, last) for label, first, last in self.page.evaluate(_TIMELINE)]


def _png(data_url: str) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(base64.b64decode(data_url.partition(",")[2]))).convert("RGBA"))


def _from_screen(pixels: np.ndarray, origin: Any, picture: dict[str, float], size: Size) -> np.ndarray:
    """Pixels of the screen, whose first is at ``origin``, as a picture of ``size``."""
    scale, (left, top) = picture["scale"], origin
    # From the centre of a pixel of the picture to that of one of the screen.
    x, y = picture["x"] - left + scale / 2 - 0.5, picture["y"] - top + scale / 2 - 0.5
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(pixels, np.array([[scale, 0, x], [0, scale, y]]), size, flags=flags)
