"""Pictures as a person sees them: upright, transparency resolved, and no bombs."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from tests.timing import little_work
from worldsim.datasets.store.picture import read_picture, scale_picture
from worldsim.plotting.pictures import write_picture

# Red, green, blue and white quarters: every turn and mirror image looks different.
QUARTERS = np.kron(
    np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8), np.ones((16, 24, 1), np.uint8)
)


def encoded(pixels: np.ndarray, kind: str, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that declares a size and holds next to nothing."""
    chunk = lambda kind, body: struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))  # noqa: E731
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("number", range(1, 9))
def test_a_picture_is_read_upright(kind: str, number: int):
    exif = Image.Exif()
    exif[274] = number
    content = encoded(QUARTERS, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    wanted = np.array(ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB"))
    read = read_picture(content)
    assert read.shape == wanted.shape and read.flags.c_contiguous
    # Away from the edges between the quarters: JPEG blurs them.
    corners = np.ix_([4, -5], [4, -5])
    np.testing.assert_allclose(read[corners].astype(int), wanted[corners], atol=4)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "GIF"])
def test_transparent_pixels_are_shown_over_black(kind: str):
    alpha = np.array([[255, 0], [255, 0]] if kind == "GIF" else [[255, 0], [128, 255]], np.uint8)
    layered = np.dstack([QUARTERS, np.kron(alpha, np.ones((16, 24), np.uint8))])
    read = read_picture(encoded(layered, kind, **({"lossless": True} if kind == "WEBP" else {})))
    wanted = (QUARTERS.astype(float) * layered[..., 3:] / 255).round()
    np.testing.assert_allclose(read, wanted, atol=1)


def test_a_palette_may_be_transparent_and_grey_may_be_too():
    layered = np.dstack([QUARTERS, np.kron(np.array([[255, 0], [255, 255]], np.uint8), np.ones((16, 24), np.uint8))])
    for mode in ("P", "LA"):
        read = read_picture(encoded_as(layered, mode))
        assert not read[:16, 24:].any() and read[20, 30].tolist() == [255, 255, 255]


def encoded_as(pixels: np.ndarray, mode: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, "PNG")
    return file.getvalue()


def test_the_rest_of_the_kinds_keep_their_colours():
    deep = np.arange(0, 65536, 65536 // 64, dtype=np.uint16)[:64].reshape(8, 8)
    assert abs(read_picture(encoded(deep, "PNG"))[..., 0].astype(int) - (deep >> 8)).max() <= 1
    np.testing.assert_array_equal(read_picture(encoded(QUARTERS, "BMP")), QUARTERS)
    cmyk = io.BytesIO()
    Image.fromarray(QUARTERS).convert("CMYK").save(cmyk, "JPEG", quality=95)
    np.testing.assert_allclose(read_picture(cmyk.getvalue())[4, 4], [255, 0, 0], atol=6)


def test_of_moving_pictures_the_first_is_read():
    for kind in ("GIF", "WEBP"):
        file = io.BytesIO()
        frames = [Image.fromarray(QUARTERS), Image.fromarray(QUARTERS[:, ::-1])]
        frames[0].save(
            file, kind, save_all=True, append_images=frames[1:], **({} if kind == "GIF" else {"lossless": True})
        )
        np.testing.assert_array_equal(read_picture(file.getvalue()), QUARTERS)


@pytest.mark.parametrize("kind", ["TIFF", "WEBP"])
def test_what_a_second_reader_reads_is_whole_too(kind: str):
    content = encoded(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8), kind)
    assert read_picture(content).shape == (64, 64, 3)
    for part in (0.2, 0.5, 0.9):
        with pytest.raises(ValueError, match="whole picture"):
            read_picture(content[: int(part * len(content))])


def test_a_picture_that_declares_gigabytes_is_refused_at_once(tmp_path: Path):
    with little_work(5):
        for width, height in ((60_000, 60_000), (10_000, 9_000), (2**31 - 1, 2**31 - 1)):
            with pytest.raises(ValueError, match=r"pixels|whole picture"):
                read_picture(png_header(width, height))


def test_names_are_names(tmp_path: Path):
    for name in ("a%03d.png", "http:x.png", "[1]*.png", "concat:a.png", "-i.png", "gr\udcf6\udcdfe.png"):
        write_picture(tmp_path / "plain.png", QUARTERS)
        (tmp_path / "plain.png").replace(tmp_path / name)
        np.testing.assert_array_equal(read_picture(tmp_path / name), QUARTERS)


def test_a_list_of_other_pictures_is_no_picture(tmp_path: Path):
    write_picture(tmp_path / "plain.png", QUARTERS)
    (tmp_path / "a.png").write_text("ffconcat version 1.0\nfile plain.png\n")
    with pytest.raises(ValueError, match=r"a\.png"):
        read_picture(tmp_path / "a.png")


def test_scaling():
    picture = np.random.default_rng(0).integers(0, 256, (48, 80, 3), np.uint8)
    assert scale_picture(picture, (80, 48)) is picture
    assert scale_picture(picture, (40, 24)).shape == (24, 40, 3)
