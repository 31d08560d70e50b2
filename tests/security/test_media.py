"""Attacks by what a file holds: nothing large is decoded, and no file opens another."""

from __future__ import annotations

import base64
import contextlib
import struct
import threading
import tracemalloc
import zlib
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Asked, WebServer, answer
from tests.support.clips import read_frames, write_clip
from yolo_backend.errors import MediaError
from yolo_backend.label_studio.client import LabelStudio
from yolo_backend.media import MediaLoader
from yolo_backend.pipeline.engine import Engine
from yolo_backend.settings import PROJECT_DIR, Settings

NOWHERE = LabelStudio(url=None)


def picture(value: str) -> Any:
    """Open an image as the service does, with the default settings."""
    loader = MediaLoader(Settings())
    return loader.decode(loader.fetch(value, task_id=1, label_studio=NOWHERE))


CLIP = PROJECT_DIR / "examples" / "video" / "codes.mp4"


def png(width: int, height: int, *more: bytes, data: bytes = zlib.compress(b"\0" * 100)) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = [header, *more, b"IDAT" + data, b"IEND"]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in parts
    )


def jpeg(width: int, height: int) -> bytes:
    frame = b"\xff\xc0" + struct.pack(">HBHHB", 11, 8, height, width, 1) + b"\x01\x11\x00"
    return b"\xff\xd8" + frame + b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00" + b"\0" * 100 + b"\xff\xd9"


def gif(width: int, height: int) -> bytes:
    image = b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x4c\x01\x00;"
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0" * 6 + image


def bmp(width: int, height: int) -> bytes:
    return (
        b"BM"
        + struct.pack("<IHHI", 54, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    )


def tiff(width: int, height: int) -> bytes:
    tags = [(256, width), (257, height), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, height), (279, 10)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)


def webp(width: int, height: int) -> bytes:
    size = b"".join(struct.pack("<I", side - 1)[:3] for side in (width, height))
    canvas = b"VP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + size
    pixels = b"VP8L" + struct.pack("<I", 6) + b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14) + b"\0"
    return b"RIFF" + struct.pack("<I", 4 + len(canvas + pixels)) + b"WEBP" + canvas + pixels


@pytest.mark.parametrize("make", [png, jpeg, gif, bmp, tiff, webp])
def test_a_decompression_bomb_is_refused_by_its_header(
    make: Callable[[int, int], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("its pixels are decoded"))
    value = "data:image/x;base64," + base64.b64encode(make(16000, 16000)).decode()
    with pytest.raises(MediaError, match=r"16000 × 16000 pixels, more than MAX_IMAGE_MEGAPIXELS allows \(100\)"):
        picture(value)


@pytest.mark.parametrize(
    "chunk",
    [
        b"zTXtx\0\0" + zlib.compress(b"\0" * 50_000_000, 9),
        b"iTXtx\0\1\0\0\0" + zlib.compress(b"\0" * 50_000_000, 9),
        b"iCCPx\0\0" + zlib.compress(b"\0" * 50_000_000, 9),
        b"eXIf" + b"MM\0*\0\0\0\x08\xff\xff" + b"\0" * 1000,
    ],
    ids=["text", "international text", "profile", "EXIF"],
)
def test_what_is_beside_the_pixels_is_not_unpacked_without_limit(chunk: bytes) -> None:
    value = "data:image/png;base64," + base64.b64encode(png(4, 4, chunk)).decode()
    tracemalloc.start()
    # Whether it counts as damaged or is left aside is the decoder's choice.
    with contextlib.suppress(MediaError):
        picture(value)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


@pytest.mark.parametrize(
    "value",
    ["data:;base64," + "A" * 2_000_000, "data:," + "x" * 1_000_001, "data:;base64," + "A%41" * 800_000],
    ids=["base64", "plain", "percent"],
)
def test_data_in_a_task_is_no_way_around_the_limit(value: str) -> None:
    with pytest.raises(MediaError, match="more than MAX_DOWNLOAD_MB allows"):
        MediaLoader(Settings(max_download_mb=1)).fetch(value, task_id=1, label_studio=NOWHERE)


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXTINF:1,\nconcat:{target}|{target}\n#EXT-X-ENDLIST\n",
        '#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="{target}"\n#EXTINF:1,\nx.ts\n#EXT-X-ENDLIST\n',
        "ffconcat version 1.0\nfile '{target}'\n",
        "ffconcat version 1.0\nfile secret.ts\n",
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT1S">'
        "<Period><AdaptationSet><Representation><BaseURL>{target}</BaseURL></Representation></AdaptationSet></Period></MPD>",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\n",
        '<svg xmlns="http://www.w3.org/2000/svg"><image href="{target}"/></svg>',
        '<!DOCTYPE s [<!ENTITY x SYSTEM "{target}">]><svg xmlns="http://www.w3.org/2000/svg">&x;</svg>',
        "[InternetShortcut]\nURL={target}\n",
        "push graphic-context\nfill 'url({target})'\npop graphic-context\n",
        "%!PS\n({target}) (r) file\n",
    ],
    ids=[
        "playlist",
        "concat",
        "key",
        "ffconcat",
        "ffconcat beside",
        "DASH",
        "SDP",
        "SVG",
        "SVG entity",
        "shortcut",
        "MVG",
        "PostScript",
    ],
)
@pytest.mark.parametrize("scheme", ["http", "file"])
def test_a_file_opens_no_other(web: Any, tmp_path: Path, text: str, scheme: str) -> None:
    (tmp_path / "secret.ts").write_bytes(CLIP.read_bytes())
    target = f"{web.url}/secret.ts" if scheme == "http" else f"file://{tmp_path}/secret.ts"
    web.reply("/secret.ts", CLIP.read_bytes())
    path = tmp_path / "yolo-backend-x"  # as what is fetched is kept
    path.write_text(text.format(target=target))
    with pytest.raises(MediaError):
        list(read_frames(path, megapixels=10))
    value = "data:image/jpeg;base64," + base64.b64encode(path.read_bytes()).decode()
    with pytest.raises(MediaError):
        picture(value)
    assert web.asked == []


def test_a_long_video_is_left_by_its_header_or_on_the_way() -> None:
    with pytest.raises(MediaError, match=r"a video of \d+ frames or more, and MAX_VIDEO_FRAMES allows 5"):
        list(read_frames(CLIP, megapixels=10, frames=5))


def test_a_video_that_hides_its_length_is_left_on_the_way(tmp_path: Path) -> None:
    import av

    path = tmp_path / "x.mpg"
    with av.open(str(path), "w", format="mpegts") as container:
        stream = container.add_stream("mpeg2video", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for _ in range(20):
            container.mux(stream.encode(av.VideoFrame(64, 64, "yuv420p")))
        container.mux(stream.encode(None))
    seen: list[Any] = []
    with pytest.raises(MediaError, match="a video of 6 frames or more"):
        seen += read_frames(path, megapixels=10, frames=5)
    assert len(list(read_frames(path, megapixels=10, frames=20))) == 20


def engine_for(tmp_path: Path, **given: Any) -> Engine:
    images = PROJECT_DIR / "examples" / "images"
    return Engine(Settings(model_dir=tmp_path, local_files_document_root=images, **given))


VIDEO_CONFIG = """<View><Video name="v" value="$v" frameRate="{rate}"/>
  <Labels name="l" toName="v">{labels}</Labels><VideoRectangle name="r" toName="v" model_path="demo-detect.pt" model_conf="0"
    model_score_threshold="0"/>
  <TimelineLabels name="t" toName="v" model_path="demo-classify.pt" model_score_threshold="0" model_min_frames="1">{labels}
  </TimelineLabels></View>"""


@pytest.mark.parametrize(
    ("name", "times", "length"),
    [
        ("late.mkv", [0, 0.04, 1e9], None),
        ("first.mkv", [1e9, 1e9 + 1], None),
        ("late.mp4", [0, 0.04, 1e4], None),
        ("gap.webm", [0, 0.04, 90], 91),
        ("short.mp4", [0, 0.04, 0.08], 0.12),
    ],
)
@pytest.mark.parametrize("rate", [24, 1000])
def test_times_that_a_video_claims_bring_no_regions(
    tmp_path: Path, name: str, times: list[float], length: float | None, rate: int, caplog: pytest.LogCaptureFixture
) -> None:
    codes = [frame.pixels for frame in read_frames(CLIP, megapixels=10)][: len(times)]
    write_clip(tmp_path / name, times, codes, codec="libvpx-vp9", size=(640, 360))
    engine = Engine(Settings(model_dir=tmp_path, local_files_document_root=tmp_path))
    labels = '<Label value="qr_code"/><Label value="barcode"/>'
    plan = engine.plan(VIDEO_CONFIG.format(rate=rate, labels=labels))
    (prediction,) = engine.predict(plan, [{"id": 1, "data": {"v": f"/data/local-files/?d={name}"}}], NOWHERE)
    if length is None:
        assert prediction is None
        assert "MAX_VIDEO_FRAMES allows 200000" in caplog.text
        return
    assert prediction is not None
    frames = {frame for region in prediction.regions for frame in numbers(region["value"])}
    assert {region["type"] for region in prediction.regions} == {"videorectangle", "timelinelabels"}
    assert max(frames) <= round(length * rate) + 1


def numbers(value: dict[str, Any]) -> list[int]:
    """The frame numbers of a region on a video."""
    spans = [frame for span in value.get("ranges", []) for frame in (span["start"], span["end"])]
    return [*spans, *(key["frame"] for key in value.get("sequence", [])), value.get("framesCount", 1)]


TAG = '<RectangleLabels name="c" toName="i" model_path="demo-detect.pt" {}><Label value="barcode"/></RectangleLabels>'
PHOTO = "/data/local-files/?d=photo-02.jpg"  # with two barcodes


def test_a_task_with_very_many_pages_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    engine = engine_for(tmp_path, max_pages=2)
    plan = engine.plan(f'<View><Image name="i" valueList="$i"/>{TAG.format("")}</View>')
    tasks = [{"id": 1, "data": {"i": [PHOTO] * 3}}, {"id": 2, "data": {"i": [PHOTO] * 2}}]
    left, predicted = engine.predict(plan, tasks, NOWHERE)
    assert left is None
    assert predicted is not None
    assert "3 pages, more than MAX_PAGES allows (2)" in caplog.text


def test_a_task_with_very_many_regions_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    engine = engine_for(tmp_path, max_regions=3)
    plan = engine.plan(
        f'<View><Image name="i" valueList="$i"/>{TAG.format("model_max_det=10000")}</View>'.replace(
            "=10000", '="10000"'
        )
    )
    assert plan.passes[0].options.max_det == 3
    tasks = [{"id": 1, "data": {"i": [PHOTO] * 2}}, {"id": 2, "data": {"i": [PHOTO]}}]
    left, predicted = engine.predict(plan, tasks, NOWHERE)
    assert left is None
    assert predicted is not None
    assert len(predicted.regions) == 2
    assert "4 regions, more than MAX_REGIONS allows (3)" in caplog.text


def test_a_slow_server_does_not_hold_up_others(tmp_path: Path, web: WebServer) -> None:
    """Other requests go on while a server dribbles."""
    left = threading.Event()

    def dribble(handler: BaseHTTPRequestHandler, _: Asked) -> None:
        left.wait(20)
        answer(handler, status=404)

    web.routes["/slow.jpg"] = dribble
    engine = engine_for(tmp_path, download_timeout=10, fetch_threads=2)
    plan = engine.plan(f'<View><Image name="i" value="$i"/>{TAG.format("")}</View>')
    tasks = [{"id": 1, "data": {"i": f"{web.url}/slow.jpg"}}, {"id": 2, "data": {"i": PHOTO}}]
    outcomes = engine.compute(plan, tasks, NOWHERE)
    index, outcome = next(outcomes)
    assert index == 1
    assert not isinstance(outcome, Exception)
    left.set()
    list(outcomes)
