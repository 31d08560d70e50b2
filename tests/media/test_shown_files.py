"""Every file of the table as a browser shows it; the end-to-end tests ask a real one."""

from __future__ import annotations

import pytest

from tests.support.shown_files import BLANK, FILES, NOT_SHOWN, ShownFile, colours_of_quarters
from yolo_backend.errors import MediaError
from yolo_backend.media.decode import decode


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_shown(file: ShownFile) -> None:
    picture = decode(file.data, max_megapixels=1)
    assert (picture.width, picture.height) == file.size
    assert colours_of_quarters(picture.pixels[:, :, ::-1]) == file.quarters


@pytest.mark.parametrize("name", BLANK)
def test_blank(name: str) -> None:
    with pytest.raises(MediaError, match="damaged or incomplete"):
        decode(BLANK[name], max_megapixels=1)


@pytest.mark.parametrize("name", sorted(NOT_SHOWN.keys() - {"TIFF"}))
def test_not_shown(name: str) -> None:
    with pytest.raises(MediaError):
        decode(NOT_SHOWN[name], max_megapixels=1)
