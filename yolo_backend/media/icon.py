"""Windows icons and cursors: files with several pictures, of which a browser shows the largest."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass

from PIL import IcoImagePlugin, Image

from yolo_backend.errors import MediaError

SIGNATURES = (b"\0\0\1\0", b"\0\0\2\0")


@dataclass(frozen=True, kw_only=True)
class Icon:
    """The largest picture of an icon.

    Attributes:
        data: A PNG, or a bitmap without the header of a file.
        bits: Per pixel.
    """

    data: bytes
    bits: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of a bitmap."""
        width, height = struct.unpack_from("<ii", self.data, 4)
        return width, height // 2  # the height includes the mask for transparency

    def open_bitmap(self) -> Image.Image:
        """Return a bitmap with its transparency."""
        entry = struct.pack("<6xHII", self.bits, len(self.data), 22)
        return IcoImagePlugin.IcoFile(io.BytesIO(b"\0\0\1\0\1\0" + entry + self.data)).frame(0)


def read(data: bytes) -> Icon:
    """Find the largest picture of an icon.

    Raises:
        MediaError: it is damaged.
    """
    entries = []
    for index in range(min(int.from_bytes(data[4:6], "little"), (len(data) - 6) // 16)):
        width, height, _, _, _, bits, length, start = struct.unpack_from("<4B2H2I", data, 6 + 16 * index)
        entries.append(((width or 256) * (height or 256), bits, start, length))
    for _, bits, start, length in sorted(entries, key=lambda entry: entry[:2], reverse=True):
        content = data[start : start + length]
        if len(content) >= 40:
            return Icon(data=content, bits=bits if data[2] == 1 else 0)
    raise MediaError("the Windows icon is damaged or incomplete (it holds no picture)")
