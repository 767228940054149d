"""Every form of image file, against Pillow's own decoding and closed-form pixels."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from medimg.data.imaging import encode_png, pixel_hash, read_image, without_idle_colour, write_png
from medimg.data.resizing import resize, resize_mask
from medimg.errors import InputError


@pytest.fixture
def colour():
    return np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)


def saved(folder, image, name, **options):
    path = folder / name
    image.save(path, **options)
    return path


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (1, 1), (1, 1, 3)])
def test_png_keeps_every_pixel(tmp_path, dtype, shape):
    image = np.random.default_rng(1).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
    data = write_png(tmp_path / "a.png", image)
    assert data == (tmp_path / "a.png").read_bytes() == encode_png(image)
    again = read_image(tmp_path / "a.png")
    assert again.dtype == dtype
    np.testing.assert_array_equal(again, image)
    assert pixel_hash(again) == pixel_hash(image)


def test_hash_tells_shape_and_depth_apart():
    flat = np.zeros((2, 8), np.uint8)
    assert len({pixel_hash(flat), pixel_hash(flat.reshape(4, 4)), pixel_hash(flat.view(np.uint16))}) == 3


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "P"])
@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_modes_equal_pillow(tmp_path, colour, mode, kind):
    original = Image.fromarray(colour).convert(mode)
    path = saved(tmp_path, original, "a.img", format=kind)
    expected = original.convert("L" if mode in ("1", "L") else "RGB")
    np.testing.assert_array_equal(read_image(path), np.asarray(expected))


def test_wrong_extension_is_decoded_by_content(tmp_path, colour):
    path = saved(tmp_path, Image.fromarray(colour), "picture.jpg", format="PNG")
    np.testing.assert_array_equal(read_image(path), colour)


def test_cmyk_jpeg_has_its_colours(tmp_path):
    red = np.full((16, 16, 3), (200, 30, 40), np.uint8)
    path = saved(tmp_path, Image.fromarray(red).convert("CMYK"), "a.jpg", quality=95)
    np.testing.assert_allclose(read_image(path), red, atol=6)


def test_grey_jpeg_stays_grey(tmp_path, colour):
    path = saved(tmp_path, Image.fromarray(colour).convert("L"), "a.jpg")
    assert read_image(path).shape == (20, 30)


def test_grey_palette_becomes_grey(tmp_path):
    grey = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
    path = saved(tmp_path, grey.convert("P"), "a.png")
    np.testing.assert_array_equal(read_image(path), np.asarray(grey))


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_alpha_is_laid_over_black(tmp_path, name):
    pixels = np.array([[(200, 100, 50, 255), (200, 100, 50, 0), (200, 100, 50, 51)]], np.uint8)
    path = saved(tmp_path, Image.fromarray(pixels), name)
    np.testing.assert_array_equal(read_image(path)[0], [(200, 100, 50), (0, 0, 0), (40, 20, 10)])


def test_grey_with_alpha(tmp_path):
    pixels = np.array([[(200, 255), (200, 0)]], np.uint8)
    path = saved(tmp_path, Image.fromarray(pixels, "LA"), "a.png")
    np.testing.assert_array_equal(read_image(path), [[200, 0]])


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_equals_pillow(tmp_path, name, orientation):
    image = Image.fromarray(np.kron(np.arange(6, dtype=np.uint8).reshape(2, 3) * 40, np.ones((8, 8), np.uint8)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path, image, name, exif=exif)
    with Image.open(path) as opened:
        expected = np.asarray(ImageOps.exif_transpose(opened))
    np.testing.assert_allclose(read_image(path), expected, atol=2)


def test_sixteen_bit_colour_tiff(tmp_path):
    import cv2

    image = np.random.default_rng(2).integers(0, 65536, (4, 6, 3), np.uint16)
    cv2.imwrite(str(tmp_path / "a.tif"), image[:, :, ::-1])
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), image)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP"])
@pytest.mark.parametrize("keep", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("padding", [0, 500])
def test_truncated_file_is_refused(tmp_path, colour, kind, keep, padding):
    if kind in ("BMP", "TIFF") and padding:
        pytest.skip("uncompressed pixels padded with zeros are just black pixels")
    buffer = io.BytesIO()
    Image.fromarray(colour).save(buffer, kind)
    data = buffer.getvalue()
    path = tmp_path / "half.jpg"
    path.write_bytes(data[: int(len(data) * keep)] + b"\0" * padding)
    with pytest.raises(InputError, match=r"half\.jpg: (truncated|not an image|can't be decoded)"):
        read_image(path)


@pytest.mark.parametrize(("content", "word"), [(b"", "zero bytes"), (b"just text\n" * 9, "not an image")])
def test_what_is_no_image_is_refused(tmp_path, content, word):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"a.png: .*{word}"):
        read_image(path)


@pytest.mark.parametrize("filling", [b"#" + b"x" * 70_000 + b"\n", b"#\n" * 40_000, b" " * 70_000, b"#x"])
def test_a_header_without_end_is_not_read_to_it(filling, tmp_path):
    (tmp_path / "a.pgm").write_bytes(b"P5 #c\n2 # d\n2 255\nabcd")
    assert read_image(tmp_path / "a.pgm").tolist() == [[97, 98], [99, 100]]
    (tmp_path / "a.pgm").write_bytes(b"P5 " + filling + b"2 2 255\nabcd")
    with pytest.raises(InputError, match="its header has no end"):
        read_image(tmp_path / "a.pgm")


def test_missing_file_and_folder(tmp_path):
    for path in (tmp_path / "none.png", tmp_path):
        with pytest.raises(InputError, match="can't be read"):
            read_image(path)


def test_several_frames_are_refused(tmp_path, colour):
    frames = [Image.fromarray(colour), Image.fromarray(255 - colour)]
    path = saved(tmp_path, frames[0], "a.tif", save_all=True, append_images=frames[1:])
    with pytest.raises(InputError, match="2 frames"):
        read_image(path)


def test_float_pixels_are_refused(tmp_path):
    path = saved(tmp_path, Image.fromarray(np.ones((3, 3), np.float32)), "a.tif")
    with pytest.raises(InputError, match="convert it to 8 or 16 bits"):
        read_image(path)


def test_wide_image_shrinks_to_the_mean_of_areas(tmp_path):
    wide = np.tile(np.arange(200, dtype=np.uint8), (64, 100))
    path = saved(tmp_path, Image.fromarray(wide), "wide.png")
    image = read_image(path)
    assert image.shape == (64, 20_000)
    expected = image.reshape(64, 1, 32, 625).mean(axis=(1, 3)).reshape(32, 2, 32).mean(axis=1)
    np.testing.assert_allclose(resize(image, 32), expected, atol=1)


def test_resize_in_both_directions():
    image = np.tile(np.arange(0, 100, dtype=np.uint16)[None] * 600, (4, 1))
    small = resize(image, 10)
    assert small.shape == (10, 10)
    assert small.dtype == np.uint16
    np.testing.assert_array_equal(small, np.tile(image[0].reshape(10, 10).mean(axis=1), (10, 1)))
    assert resize(np.full((1, 1, 3), 7, np.uint8), 5).tolist() == np.full((5, 5, 3), 7).tolist()


def weights(length, size):
    """Row i: by how much each of `length` pixels counts in pixel i of `size`; areas, or linear interpolation."""
    found, scale = np.zeros((size, length)), length / size
    for i in range(size):
        for j in range(length):
            if size < length:
                found[i, j] = max(0.0, min((i + 1) * scale, j + 1) - max(i * scale, j)) / scale
            else:
                found[i, j] = max(0.0, 1 - abs(np.clip((i + 0.5) * scale - 0.5, 0, length - 1) - j))
    return found


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(128, 128), (100, 64), (20, 20), (20, 128), (31, 33)])
def test_whole_numbers_are_rounded_half_up(shape, kind):
    """A quarter of the side has exact halves, which OpenCV rounds to even; growing bytes it interpolates coarsely."""
    image = np.random.default_rng(1).integers(0, 200, shape).astype(kind)
    expected = weights(shape[0], 32) @ image.astype(float) @ weights(shape[1], 32).T
    np.testing.assert_array_equal(resize(image, 32), np.floor(expected + 0.501))


def test_a_large_image_is_resized_as_a_whole(monkeypatch):
    image = np.random.default_rng(2).integers(0, 256, (90, 70, 3), np.uint8)
    whole = resize(image, 31)
    monkeypatch.setattr("medimg.data.resizing._BLOCK", 200)
    np.testing.assert_array_equal(resize(image, 31), whole)


def test_mask_keeps_its_numbers():
    mask = np.array([[0, 3], [1, 0]], np.uint8)
    np.testing.assert_array_equal(resize_mask(mask, 4), np.kron(mask, np.ones((2, 2), np.uint8)))
    assert set(np.unique(resize_mask(np.tile(mask, (10, 10)), 7))) <= {0, 1, 3}


def test_idle_colour_goes_and_real_colour_stays(colour):
    grey = colour[:, :, 0]
    np.testing.assert_array_equal(without_idle_colour(np.repeat(grey[:, :, None], 3, 2)), grey)
    assert without_idle_colour(colour) is colour
