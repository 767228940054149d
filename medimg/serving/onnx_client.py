"""Answers of an exported ONNX model (`model.onnx`), as `medimg predict` gives them; it needs no medimg.

It needs onnxruntime, NumPy and, for images, OpenCV. What ONNX has no operators for is done here as training did it:
PNG and JPEG are decoded, text becomes the codes of categories, dates become days. Pixels are resized and scaled by
`prepare.onnx`; columns are encoded, logits calibrated and decisions taken by `model.onnx`.
"""

import base64
import json
import math
import re
from pathlib import Path

import numpy as np
import onnxruntime

UNREAD = -1.0
NO_IMAGE = "no PNG or JPEG that can be decoded"
_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"


class OnnxModel:
    """A version's folder.

    Args:
        folder: with `model.onnx` and, of a model of images, `prepare.onnx`.

    Example:
        OnnxModel(Path("saved_models/chest/1")).answers({"inputs": {"image_bytes": {"values": [...]}}})
    """

    def __init__(self, folder: Path):
        self._model = _session(folder / "model.onnx")
        self.about = json.loads(self._model.get_modelmeta().custom_metadata_map["medimg"])
        prepare = folder / "prepare.onnx"
        self._prepare = _session(prepare) if prepare.is_file() else None

    def answers(self, request: dict) -> list[dict]:
        """Of each example what a server of the SavedModel answers: `label`, `probabilities`, `error`, `threshold`.

        Args:
            request: its `inputs`, each with `values`: `image_bytes` in base64; columns by the names of `about`.
        """
        values = {name: tensor["values"] for name, tensor in request["inputs"].items()}
        count = len(next(iter(values.values())))
        errors, inputs = [""] * count, {}
        if self._prepare:
            inputs["pixels"] = self._pixels(values["image_bytes"], errors)
        if self.about["columns"]:
            inputs["columns"] = self._columns(values, errors)
        names = [output.name for output in self._model.get_outputs()]
        outputs = dict(zip(names, self._model.run(names, inputs), strict=True))
        each = zip(outputs["probabilities"], outputs["decided"], errors, strict=True)
        return [self._answer(*one, outputs.get("threshold")) for one in each]

    def _answer(self, probabilities, decided, error: str, threshold) -> dict:
        classes = np.array(self.about["classes"])
        probabilities = [UNREAD] * len(classes) if error else probabilities.tolist()
        answer = {"probabilities": probabilities, "label": "" if error else "|".join(classes[decided]), "error": error}
        if self.about["task"] == "multilabel":
            answer["threshold"] = threshold.tolist()
        if self.about["task"] == "binary":
            answer |= {"positive_class": str(classes[1]), "positive_probability": probabilities[1]}
            answer["threshold"] = float(threshold[1])
        return answer

    def _pixels(self, images: list[str], errors: list[str]) -> np.ndarray:
        """float32 (B, S, S, C), black where it can't be decoded."""
        pixels = np.zeros((len(images), *self.about["pixels"]), np.float32)
        for i, text in enumerate(images):
            try:
                image = decoded(base64.b64decode(text))
            except ValueError as error:
                errors[i] = str(error)
                continue
            full = np.array(65535 if image.dtype == np.uint16 else 255)
            pixels[i] = self._prepare.run(["pixels"], {"image": image.astype(np.int64), "full": full})[0]
        return pixels

    def _columns(self, of_input: dict, errors: list[str]) -> np.ndarray:
        """float64 (B, columns): numbers, codes of categories, days since 1970-01-01; NaN is missing."""
        raw = np.full((len(errors), len(self.about["columns"])), np.nan)
        for place, column in enumerate(self.about["columns"]):
            values = of_input[column["input"]]
            values = [row[column["position"]] for row in values] if "position" in column else values
            for i, value in enumerate(values):
                try:
                    raw[i, place] = self._number(value, column)
                except ValueError:
                    errors[i] = errors[i] or f"a date is not {self.about['date_form']}, or no such day"
        return raw

    def _number(self, value, column: dict) -> float:
        if column["dtype"] == "float32":
            number = float(np.float32(value))
            return number if math.isfinite(number) else math.nan
        text = str(value).strip()
        if text.lower() in self.about["missing"]:
            return math.nan
        text = re.sub(self.about["whole_number"], r"\1", text)
        if column["type"] != "date":
            return float(column["categories"].index(text)) if text in column["categories"] else UNREAD
        if not re.fullmatch(self.about["date"], text):
            raise ValueError(text)
        return np.datetime64(text, "s").astype(np.int64) / 86400


def decoded(data: bytes) -> np.ndarray:
    """A PNG or JPEG upright: uint8 or uint16 (H, W, 1 to 4), RGB.

    Raises:
        ValueError: it is none, or broken.
    """
    import cv2

    is_jpeg = data[:3] == _JPEG
    if not is_jpeg and data[:8] != _PNG:
        raise ValueError(NO_IMAGE)
    if not is_jpeg and b"eXIf" in data:
        raise ValueError("a PNG with EXIF, which OpenCV does not turn upright: save it without")
    # A JPEG's orientation is applied unless the image is asked for as it is stored.
    form = cv2.IMREAD_ANYCOLOR if is_jpeg else cv2.IMREAD_UNCHANGED
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), form)
    except cv2.error:
        image = None
    if image is None:
        raise ValueError(NO_IMAGE)
    image = image if image.ndim == 3 else image[:, :, None]
    order = {1: [0], 2: [0, 1], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[image.shape[2]]
    return image[:, :, order]


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
