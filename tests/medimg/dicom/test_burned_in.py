"""Text at borders is found and made black; pictures without text are left alone."""

import cv2
import numpy as np
import pytest

from medimg.data.imaging import read_image
from medimg.dicom.burned_in import masked, text_boxes


@pytest.mark.parametrize("place", [(10, 30), (10, 470), (280, 30)])
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_text_is_found_and_masked(place, depth):
    smooth = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 160, (480, 512), np.uint8), (0, 0), 9)
    written = cv2.putText(smooth.copy(), "DOE JOHN 1950", place, cv2.FONT_HERSHEY_SIMPLEX, 0.7, 255, 2)
    deep = (written.astype(depth) * (257 if depth is np.uint16 else 1)).astype(depth)
    boxes = text_boxes(deep)
    assert boxes
    assert text_boxes(smooth) == []
    covered = masked(deep, boxes)
    letters = written > 230
    assert (covered[letters] == 0).mean() > 0.95
    assert covered.dtype == depth
    assert np.array_equal(deep[100:400, 100:250], covered[100:400, 100:250])


def test_few_radiographs_are_said_to_have_text(medical_data):
    files = sorted((medical_data / "nih_chestxray14").rglob("*.png"))[:40]
    assert len(files) >= 20
    # Some do: PORTABLE and the like.
    assert sum(bool(text_boxes(read_image(file))) for file in files) <= 0.15 * len(files)
