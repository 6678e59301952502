"""Photos made to look like the training data: what is done to them, and what is said of it."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from seqserve.cli.faults import Refused
from seqserve.cli.photo import Picture, prepare

Pixels = npt.NDArray[np.uint8]
BLACK, WHITE = 0, 255
NOISE = np.random.default_rng(0).integers(0, 256, (90, 120), np.uint8)


def photo(width: int = 120, height: int = 90, *, ground: int = WHITE, ink: int = 20) -> Pixels:
    """A stroke 10 wide and 40 high, off the middle."""
    grey = np.full((height, width), ground, np.uint8)
    grey[30:70, 80:90] = ink
    return grey


def saved(folder: Path, pixels: Pixels, name: str = "photo.png") -> Path:
    path = folder / name
    Image.fromarray(pixels).save(path)
    return path


def pixels_of(picture: Picture) -> Pixels:
    with Image.open(io.BytesIO(picture.file), formats=["PNG"]) as image:
        assert image.mode == "L"
        return np.asarray(image)


def ink_box(grey: Pixels) -> tuple[int, int, int, int]:
    """First and last row, first and last column of what is brighter than the ground."""
    rows, columns = np.flatnonzero((grey > 64).any(axis=1)), np.flatnonzero((grey > 64).any(axis=0))
    return int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])


@pytest.mark.parametrize("name", ["digit.png", "digit.jpg"])
def test_a_file_of_the_exact_size_is_sent_as_it_is_even_on_light_ground(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path, np.full((20, 30), WHITE, np.uint8), name)

    assert prepare(path, 20, 30) == Picture(path.read_bytes(), ())
    assert prepare(path, 30, 20).steps != ()


def test_a_photo_on_light_ground_is_inverted_cropped_and_resized(tmp_path: Path) -> None:
    picture = prepare(saved(tmp_path, photo()), 28, 28)

    assert picture.steps == ("inverted", "cropped to 10x40", "resized to 28x28")
    grey = pixels_of(picture)
    assert grey.shape == (28, 28)
    assert grey[0, 0] == grey[-1, -1] == BLACK
    assert ink_box(grey) == (4, 23, 11, 15)  # 20 of 28 pixels high, a quarter as wide, in the middle


def test_a_photo_on_dark_ground_gives_the_same_picture_without_being_inverted(tmp_path: Path) -> None:
    dark = prepare(saved(tmp_path, 255 - photo(), "dark.png"), 28, 28)
    light = prepare(saved(tmp_path, photo(), "light.png"), 28, 28)

    assert dark.steps == ("cropped to 10x40", "resized to 28x28")
    assert dark.file == light.file


def test_a_model_that_inverts_gets_the_same_picture_in_negative(tmp_path: Path) -> None:
    light, dark = saved(tmp_path, photo(), "light.png"), saved(tmp_path, 255 - photo(), "dark.png")

    for path, steps in (
        (light, ("cropped to 10x40", "resized to 28x28")),
        (dark, ("inverted", "cropped to 10x40", "resized to 28x28")),
    ):
        picture = prepare(path, 28, 28, is_inverted_later=True)
        assert picture.steps == steps
        np.testing.assert_array_equal(pixels_of(picture), 255 - pixels_of(prepare(path, 28, 28)))


def test_a_stroke_that_fills_its_photo_is_not_cropped(tmp_path: Path) -> None:
    grey = np.zeros((56, 56), np.uint8)
    np.fill_diagonal(grey, WHITE)

    assert prepare(saved(tmp_path, grey), 28, 28).steps == ("resized to 28x28",)


def test_a_wide_stroke_keeps_its_proportions(tmp_path: Path) -> None:
    picture = prepare(saved(tmp_path, photo().T), 28, 28)

    assert "cropped to 40x10" in picture.steps
    assert ink_box(pixels_of(picture)) == (11, 15, 4, 23)


def test_faint_noise_on_the_ground_is_no_ink(tmp_path: Path) -> None:
    noisy = photo(ground=230)
    noisy[::7, ::7] -= 20

    assert "cropped to 10x40" in prepare(saved(tmp_path, noisy), 28, 28).steps


def test_colours_and_transparency_count_by_their_grey(tmp_path: Path) -> None:
    colours = np.full((90, 120, 4), WHITE, np.uint8)
    colours[30:70, 80:90, :3] = (0, 0, 160)

    picture = prepare(saved(tmp_path, colours), 28, 28)

    assert picture.steps == ("inverted", "cropped to 10x40", "resized to 28x28")


@pytest.mark.parametrize("ground", [BLACK, 100, WHITE])
def test_a_photo_without_ink_is_resized_and_nothing_else_fails(tmp_path: Path, ground: int) -> None:
    picture = prepare(saved(tmp_path, np.full((50, 60), ground, np.uint8)), 28, 28)

    assert picture.steps[-1] == "resized to 28x28"
    assert pixels_of(picture).shape == (28, 28)


def test_height_and_width_are_not_mixed_up(tmp_path: Path) -> None:
    picture = prepare(saved(tmp_path, photo()), 20, 40)

    assert pixels_of(picture).shape == (20, 40)
    assert picture.steps[-1] == "resized to 40x20"


@pytest.mark.parametrize(
    "content",
    [b"", b"GIF89a", b"no picture at all", b"\x89PNG\r\n\x1a\n"],
    ids=["empty", "GIF", "text", "cut off"],
)
def test_a_file_that_is_no_picture_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(content)

    with pytest.raises(Refused, match=r"photo\.png: no readable PNG or JPEG"):
        prepare(path, 28, 28)


def test_a_picture_cut_off_within_its_pixels_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, NOISE)
    path.write_bytes(path.read_bytes()[:2000])

    with pytest.raises(Refused, match="no readable"):
        prepare(path, 28, 28)


@pytest.mark.parametrize(
    ("position", "flip"),
    [(11, 0x01), (12, 0xFF), (24, 0xFF), (29, 0xFF), (36, 0xFF), (60, 0xFF)],
    ids=["length of the header", "its name", "bit depth", "its checksum", "length of the pixels", "pixels"],
)
def test_a_damaged_file_is_refused(tmp_path: Path, position: int, flip: int) -> None:
    path = saved(tmp_path, NOISE)
    content = bytearray(path.read_bytes())
    content[position] ^= flip
    path.write_bytes(content)

    with pytest.raises(Refused, match="no readable"):
        prepare(path, 28, 28)


def test_a_picture_of_a_billion_pixels_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = saved(tmp_path, NOISE)
    content = path.read_bytes()
    header = b"IHDR" + (40_000).to_bytes(4, "big") * 2 + content[24:29]
    checksum = zlib.crc32(header).to_bytes(4, "big")
    path.write_bytes(content[:12] + header + checksum + content[33:])

    with pytest.raises(Refused, match=r"photo.png: it is too large; at most \d{8,9} pixels are read"):
        prepare(path, 28, 28)
