"""What is rare and must work all the same: odd labels, very many tags, pictures of odd sizes, and turned ones."""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
from PIL import Image

from .drawings import Drawing, Shape
from .truth import IMAGES

# Letters of any kind, and what separates labels elsewhere.
LABELS = {"QR code": "二维码", "Barcode": 'Codes, "striped" & <old>'}
TURNED, WIDE, NARROW = "turned.jpg", "wide.png", "narrow.png"
SHOWN = "photo-07.jpg"
ACROSS, DOWN = 20, 15


def tag(kind: str, name: str, weights: str, attributes: str = "") -> str:
    """A control tag with odd labels."""
    classes = zip(LABELS.values(), ("qr_code", "barcode"), strict=True)
    labels = "".join(f'<Label value={quoteattr(label)} predicted_values="{of}"/>' for label, of in classes)
    return f'<{kind} name="{name}" toName="image" model_path="demo-{weights}.pt" {attributes}>{labels}</{kind}>'


def config(*tags: str) -> str:
    """A labeling config with these tags."""
    return f'<View><Image name="image" value="$image"/>{"".join(tags)}</View>'


def forty_tags() -> list[str]:
    """Ten tags of each of four kinds."""
    kinds = {"RectangleLabels": "detect", "PolygonLabels": "segment", "BrushLabels": "segment", "EllipseLabels": "obb"}
    return [tag(kind, f"{kind} {number}", of) for number in range(10) for kind, of in kinds.items()]


def write_pictures(directory: Path) -> list[Path]:
    """A JPEG of a camera that was held on its side, and pictures of one row and of one column of pixels."""
    photo = Image.open(IMAGES / SHOWN)
    exif = Image.Exif()
    exif[0x0112] = 6
    photo.transpose(Image.Transpose.ROTATE_90).save(directory / TURNED, exif=exif, quality=95)
    Image.new("RGB", (700, 1), "white").save(directory / WIDE)
    Image.new("RGB", (1, 700), "white").save(directory / NARROW)
    return [directory / name for name in (TURNED, WIDE, NARROW)]


def write_sheet(directory: Path) -> Path:
    """A sheet of 300 codes."""
    code = Image.open(IMAGES / "photo-05.jpg").crop((442, 42, 736, 351)).resize((64, 64), Image.Resampling.LANCZOS)
    sheet = Image.new("RGB", (ACROSS * 80, DOWN * 80), "white")
    for row, column in np.ndindex(DOWN, ACROSS):
        sheet.paste(code, (column * 80 + 8, row * 80 + 8))
    sheet.save(directory / "sheet.png")
    return directory / "sheet.png"


def renamed(drawing: Drawing) -> Drawing:
    """The same with the odd labels."""
    return Drawing(
        shapes=[Shape(label=LABELS[shape.label], mask=shape.mask) for shape in drawing.shapes], points=drawing.points
    )
