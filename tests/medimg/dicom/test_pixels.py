"""Pixels against pydicom's own pipeline, file by file, and what of headers is told."""

import io
import re
import struct
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file, get_testdata_files
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut
from pydicom.uid import JPEG2000Lossless

from medimg.dicom.pixels import WINDOWS, frame_header, frames, looked_at, parse_window, png, read_frame
from tests.volumes import write_dicom


def by_pydicom(path, index):
    """pydicom's functions one after another, on every pixel: float64, MONOCHROME1 turned over; black and white."""
    header = pydicom.dcmread(path, force=True)
    pixels = header.pixel_array[index] if frames(header) > 1 else header.pixel_array
    if header.PhotometricInterpretation == "PALETTE COLOR":
        return apply_color_lut(pixels, header).astype(float)
    if header.SamplesPerPixel == 3:
        return pixels.astype(float)
    own = frame_header(header, index)
    values = apply_voi_lut(apply_modality_lut(pixels, own), own).astype(float)
    return -values if header.PhotometricInterpretation == "MONOCHROME1" else values


def same(image, values):
    """The image is the values up to black and white: a straight line, rounded."""
    image, values = image.astype(float).ravel(), values.ravel()
    if np.ptp(values) == 0:
        return np.ptp(image) == 0
    low, high = values.argmin(), values.argmax()
    slope = (image[high] - image[low]) / (values[high] - values[low])
    # Both ends are rounded themselves.
    return slope > 0 and np.abs(image[low] + slope * (values - values[low]) - image).max() <= 1.01


def images(folder):
    found = [path for path in map(Path, get_testdata_files("*.dcm")) if path.is_file()]
    for path in sorted([*found, *folder.glob("*.dcm")]):
        try:
            count = frames(pydicom.dcmread(path, force=True))
            yield from ((path, i, by_pydicom(path, i)) for i in range(min(count, 2)))
        except Exception:
            continue


@pytest.mark.slow
def test_every_sample_is_what_pydicom_makes_of_it(medical_data):
    checked = []
    for path, index, values in images(medical_data / "dicom"):
        several = frames(pydicom.dcmread(path, force=True, stop_before_pixels=True)) > 1
        image = read_frame(str(path), index if several else None)
        assert same(image, values), path.name
        assert np.array_equal(image, read_frame(str(path), index)), path.name
        checked.append(path.name)
    assert len(set(checked)) >= 60
    assert {"rsna_cxr_16d7f894.dcm", "RG1_J2KI.dcm", "eCT_Supplemental.dcm", "examples_palette.dcm"} <= set(checked)


def test_window_of_the_file_is_black_and_white(tmp_path):
    hounsfield = np.array([[-1000, -600, -500, 0, 499, 500, 3000]], np.int16)
    write_dicom(tmp_path / "a.dcm", hounsfield, RescaleSlope=1, RescaleIntercept=0, WindowCenter=0, WindowWidth=1001)
    image = read_frame(str(tmp_path / "a.dcm"))
    expected = (np.clip((hounsfield + 0.5) / 1000 + 0.5, 0, 1)) * 65535
    assert image.dtype == np.uint16
    np.testing.assert_allclose(image, expected, atol=1)


@pytest.mark.parametrize("window", ["lung", "bone", "brain", "soft-tissue", "-20,301"])
def test_window_that_is_asked_for(tmp_path, window):
    hounsfield = np.arange(-1200, 1800, dtype=np.int16).reshape(30, 100)
    write_dicom(tmp_path / "a.dcm", hounsfield - 5, RescaleSlope=1, RescaleIntercept=5, WindowCenter=9, WindowWidth=9)
    centre, width = WINDOWS.get(window, (-20, 301))
    expected = np.clip((hounsfield - (centre - 0.5)) / (width - 1) + 0.5, 0, 1) * 65535
    np.testing.assert_allclose(read_frame(str(tmp_path / "a.dcm"), None, parse_window(window)), expected, atol=1)


@pytest.mark.parametrize(("function", "width"), [(None, 0), ("LINEAR", 0.5), ("LINEAR_EXACT", 0), ("SIGMOID", -3)])
def test_a_window_without_width_is_told(tmp_path, function, width):
    pixels = np.arange(256, dtype=np.uint16).reshape(16, 16)
    write_dicom(tmp_path / "a", pixels, WindowCenter=9, WindowWidth=width, VOILUTFunction=function)
    with pytest.raises(ValueError, match="a window of no width; give another by --window"):
        read_frame(str(tmp_path / "a"))
    assert read_frame(str(tmp_path / "a"), window=(100.0, 50.0)).shape == (16, 16)


def test_first_and_named_window_of_several(tmp_path):
    pixels = np.arange(256, dtype=np.uint16).reshape(16, 16)
    several = {"WindowCenter": [50, 200], "WindowWidth": [20, 20], "WindowCenterWidthExplanation": ["WIDE", "HIGH"]}
    path = str(tmp_path / "a.dcm")
    write_dicom(tmp_path / "a.dcm", pixels, **several)
    assert read_frame(path)[3, 15] == 65535
    assert read_frame(path, None, "high")[3, 15] == 0
    with pytest.raises(ValueError, match="has no window called 'low'"):
        read_frame(path, None, "low")


def test_without_a_window_the_frame_fills_the_depth_and_eight_bits_stay(tmp_path):
    pixels = np.array([[300, 400, 500]], np.uint16)
    write_dicom(tmp_path / "a.dcm", pixels)
    assert read_frame(str(tmp_path / "a.dcm")).tolist() == [[0, 32768, 65535]]
    write_dicom(tmp_path / "b.dcm", pixels, PhotometricInterpretation="MONOCHROME1")
    assert read_frame(str(tmp_path / "b.dcm")).tolist() == [[65535, 32767, 0]]
    write_dicom(tmp_path / "c.dcm", np.array([[3, 200]], np.uint8))
    assert read_frame(str(tmp_path / "c.dcm")).tolist() == [[3, 200]]


def test_modality_and_voi_tables(tmp_path):
    def table(first, values, bits, **more):
        item = Dataset()
        item.LUTDescriptor = [len(values), first, bits]
        item.add_new(0x00283006, "US", values)
        for name, value in more.items():
            setattr(item, name, value)
        return [item]

    pixels = np.array([[0, 1, 2, 3]], np.uint16)
    modality = table(0, [40, 30, 20, 10], 16, ModalityLUTType="US")
    voi = table(10, [i * 100 for i in range(31)], 12)
    write_dicom(tmp_path / "a.dcm", pixels, ModalityLUTSequence=modality, VOILUTSequence=voi)
    expected = np.array([3000, 2000, 1000, 0]) / 4095 * 65535
    np.testing.assert_allclose(read_frame(str(tmp_path / "a.dcm"))[0], expected, atol=1)


def test_functional_groups_of_a_frame(tmp_path):
    def group(intercept, centre):
        values, window, item = Dataset(), Dataset(), Dataset()
        values.RescaleSlope, values.RescaleIntercept = 1, intercept
        window.WindowCenter, window.WindowWidth = centre, 101
        item.PixelValueTransformationSequence, item.FrameVOILUTSequence = [values], [window]
        return item

    pixels = np.stack([np.full((4, 4), 1000, np.uint16)] * 2)
    own = [group(-1000, 0), group(0, 0)]
    write_dicom(tmp_path / "a.dcm", pixels, PerFrameFunctionalGroupsSequence=own)
    path = str(tmp_path / "a.dcm")
    assert abs(int(read_frame(path, 0)[0, 0]) - 65535 * 0.505) < 2
    assert read_frame(path, 1)[0, 0] == 65535


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_truncated_pixels_are_no_image(medical_data, share):
    path = medical_data / "dicom" / "693_J2KR.dcm"
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == JPEG2000Lossless
    for file in (path, Path(get_testdata_files("CT_small.dcm")[0]), medical_data / "dicom" / "rsna_cxr_16d7f894.dcm"):
        data = file.read_bytes()
        with pytest.raises(ValueError, match=r"truncated or broken pixel data|not readable|no pixels"):
            read_frame(io.BytesIO(data[: int(share * len(data))]))


def test_too_many_pixels_are_not_decoded(tmp_path):
    write_dicom(tmp_path / "a.dcm", np.zeros((2, 2), np.uint8), Rows=20000, Columns=20000)
    with pytest.raises(ValueError, match="above 100 megapixels"):
        read_frame(str(tmp_path / "a.dcm"))


@pytest.mark.parametrize("window", ["1,", "a,b", "3,1", "1,2,3", "nan,5", "0,inf"])
def test_windows_that_are_none(window):
    with pytest.raises(ValueError, match="width"):
        parse_window(window)


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_what_clients_send_is_the_image(tmp_path, shape, kind):
    image = np.random.default_rng(0).integers(0, np.iinfo(kind).max, shape).astype(kind)
    if image.ndim == 3 and kind == np.uint16:
        image = image[..., 0]
    write_dicom(tmp_path / "a.dcm", image, WindowCenter=None)
    (shown,), is_flagged = looked_at(str(tmp_path / "a.dcm"))
    read = cv2.imdecode(np.frombuffer(png(shown), np.uint8), cv2.IMREAD_UNCHANGED)
    assert not is_flagged
    expected = read_frame(str(tmp_path / "a.dcm"))
    assert np.array_equal(read[..., ::-1] if read.ndim == 3 else read, expected)
    assert struct.unpack(">II", png(shown)[16:24]) == (7, 5)


def test_clients_of_models_that_look_at_neighbours(tmp_path):
    frames = np.stack([np.full((4, 4), i, np.uint8) for i in (10, 20, 30)])
    write_dicom(tmp_path / "a.dcm", frames)
    shown, _ = looked_at(str(tmp_path / "a.dcm"), None, 1)
    images = [cv2.imdecode(np.frombuffer(png(one), np.uint8), -1)[0, 0, ::-1] for one in shown]
    assert np.array(images).tolist() == [[10, 10, 20], [10, 20, 30], [20, 30, 30]]
    write_dicom(tmp_path / "b.dcm", frames[0])
    with pytest.raises(ValueError, match="three slices at once"):
        looked_at(str(tmp_path / "b.dcm"), None, 1)
    with pytest.raises(ValueError, match="the window 'lung', which CT alone has"):
        looked_at(str(tmp_path / "b.dcm"), "lung")


@pytest.mark.parametrize(
    "name", ["JPEG2000.dcm", "693_J2KI.dcm", "SC_rgb_jpeg_dcmtk.dcm", "MR_small_jpeg_ls_lossless.dcm"]
)
@pytest.mark.parametrize("index", [None, 0])
def test_a_compressed_frame_that_says_it_is_larger_is_not_decoded(name, index, tmp_path):
    """OpenJPEG made room for 7 GB, and a decoder of JPEG-LS ended the process."""
    content = bytearray(Path(get_testdata_file(name)).read_bytes())
    assert read_frame(get_testdata_file(name), index).size
    place = content.find(b"\xff\x4f\xff\x51")
    if place >= 0:
        content[place + 8 : place + 16] = struct.pack(">II", 60_000, 60_000)
    else:
        place = re.search(rb"\xff[\xc0-\xc3\xf7]\x00", content).start()
        content[place + 5 : place + 9] = struct.pack(">HH", 60_000, 60_000)
    (tmp_path / "bomb.dcm").write_bytes(content)
    with pytest.raises(ValueError, match="compressed from more pixels than its header says"):
        read_frame(str(tmp_path / "bomb.dcm"), index)
