"""Reviewer: what a Run says of one file, by the same steps as `medimg predict`, and its explanation."""

import base64
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from explain.config import ReviewConfig
from explain.explainer import heat_of_run
from explain.review import view
from medimg.data.dataset import Dataset
from medimg.data.imaging import encode_png, read_image
from medimg.dicom.decoders import Decoders
from medimg.errors import InputError
from medimg.evaluation.prediction import probabilities
from medimg.lock import scratch
from medimg.models.ensemble import members_of
from medimg.options import of_data
from medimg.prediction.decision import decision_of
from medimg.prediction.familiarity import familiarity
from medimg.prediction.images import Batch, protected_images, reader_of
from medimg.prediction.inputs import Image, dicom_images, of_dataset
from medimg.prediction.predict import answers, forward_of
from medimg.privacy.ledger import is_private
from medimg.run import Run
from medimg.sources.dicom_files import DicomFile
from medimg.style.heat import coloured

_BATCH = 32
_MOST_ROWS = 5000  # of training, that are searched for the nearest
_THUMBNAIL = 160  # pixels
# What a file may begin with; whatever else it holds, nothing of it is read.
_KINDS = {
    b"\x89PNG\r\n\x1a\n": ".png", b"\xff\xd8\xff": ".jpg", b"II*\0": ".tif", b"MM\0*": ".tif", b"BM": ".bmp",
    b"GIF8": ".gif", b"RIFF": ".webp", b"\0\0\0\x0cjP": ".jp2", b"\xff\x4f\xff\x51": ".j2k", b"P5": ".pgm",
    b"P6": ".ppm", b"P4": ".pbm",
}  # fmt: skip


class UnknownKindError(InputError):
    """The file is of no kind that is read."""


class Reviewer:
    """A Run of images with all that its page tells; one file at a time.

    Args:
        run: the Run.
        config: options.

    Raises:
        InputError: it is of a table or takes columns beside pixels, or training examples may not be shown.
    """

    def __init__(self, run: Run, config: ReviewConfig):
        description = run.description()
        if "preprocessing" in description:
            raise InputError(f"{run.root}: is of a table, review is for images; use 'medimg predict' or 'explain'")
        if "metadata" in description:
            raise InputError(f"{run.root}: takes columns beside pixels, which a file has not; use 'medimg predict'")
        config.require_effect(of_data(False))
        self.run, self.description, self.config = run, description, config
        dataset, model = run.dataset_here(), run.model()
        protected = protected_images(run)
        reader = reader_of(description, dataset, config.max_megapixels)
        self.reader = replace(reader, protected=protected, read_frame=Decoders())
        self.decision = decision_of(run, model, description, dataset, _BATCH)
        self.forward = forward_of(model)

        def batches(data: Dataset, rows: pd.DataFrame) -> Iterable[Batch]:
            return reader.batches(of_dataset(data, (), rows), _BATCH)

        self.familiarity = familiarity(run, dataset, self.forward, batches)
        self.members = members_of(model)
        self.method, self.heat = heat_of_run(run)
        self.training = self._training(dataset, batches) if config.nearest else None

    def answer(self, name: str, data: bytes, frame: int = 0) -> dict:
        """All that the page shows of a file, for JSON.

        Args:
            name: as its reader calls it; nothing is looked up by it.
            data: the file.
            frame: of a DICOM file of several.

        Raises:
            UnknownKindError: it is of no kind that is read.
            InputError: it can't be used.
        """
        is_dicom = data[128:132] == b"DICM"
        kind = ".dcm" if is_dicom else next((end for start, end in _KINDS.items() if data.startswith(start)), None)
        if kind is None:
            raise UnknownKindError("no PNG, JPEG, TIFF, BMP, GIF, WebP, JPEG 2000, PNM or DICOM file")
        # Decoders read files; this one is gone before the answer is.
        with scratch("review") as folder:
            path = folder / f"upload{kind}"
            path.write_bytes(data)
            try:
                batch, picture, frames = self._read(path, is_dicom, frame)
            except InputError:
                raise
            except Exception as error:
                # Whatever a decoder stumbles over in a stranger's bytes, the file can't be used.
                raise InputError("broken: can't be decoded") from error
        return {"name": name, "frame": frame, "frames": frames, "view": picture, **self._answer(batch)}

    def _read(self, path: Path, is_dicom: bool, frame: int) -> tuple[Batch, dict, int]:
        images = dicom_images([DicomFile(path, path.name)], self.reader.look) if is_dicom else [Image("", path)]
        if not 0 <= frame < len(images):
            raise InputError(f"has {len(images)} frames, and none with the number {frame + 1}")
        batch = self.reader.batch([images[frame]])
        if batch.broken[0]:
            # Not where the file lay for a moment.
            raise InputError(batch.broken[0].removeprefix(f"{path}: "))
        return batch, self._view(images[frame]), len(images)

    def _view(self, image: Image) -> dict:
        if image.view is None:
            return view.of_image(read_image(image.path, self.reader.max_megapixels))
        return view.of_dicom(image.view, self.reader)

    def _answer(self, batch: Batch) -> dict:
        chances, called, features = answers(batch, self.forward, self.decision, self.familiarity)
        decided = self.decision.table("image", batch, chances, [""])["decision"][0]
        heat, of = self.heat(batch.inputs, called)
        limits = np.broadcast_to(np.array(self.decision.threshold, object), chances[0].shape)
        classes = [
            {"name": name, "p": float(p), "threshold": None if limit is None else float(limit)}
            for name, p, limit in zip(self.decision.classes, chances[0], limits, strict=True)
        ]
        size = view.fitted(heat.shape[2], heat.shape[1])
        return {
            "classes": classes,
            "positive": self.decision.positive,
            "decision": decided,
            "warnings": batch.warnings[0],
            "distance": self._distance(features),
            "members": self._members(batch),
            "map": {
                "of": self.decision.classes[of[0]],
                "by": self.method,
                "flat": not heat[0].any(),
                "png": url(coloured(heat[0], size)),
            },
            "nearest": self._nearest(features),
        }

    def _distance(self, features: np.ndarray) -> dict | None:
        if self.familiarity is None or np.isinf(self.familiarity.facts.limit):
            return None
        return {"value": float(self.familiarity.distances(features)[0]), "limit": self.familiarity.facts.limit}

    def _members(self, batch: Batch) -> list[dict]:
        descriptions = self.description.get("members", ())
        entries = []
        for model, description in zip(self.members, descriptions, strict=bool(self.members)):
            logits = model(batch.inputs, training=False).numpy()
            chances = probabilities(logits, self.decision.task, description["calibrator"])[0]
            entries.append(
                {"name": description["name"], "weight": description["weight"], "p": [float(p) for p in chances]}
            )
        return entries

    def _training(self, dataset: Dataset | None, batches) -> tuple[Dataset, pd.DataFrame, np.ndarray]:
        """Rows of training and their features."""
        if is_private(self.run.config["options"]):
            raise InputError("--nearest: the Run protects its training patients: none may be shown; leave it out")
        if dataset is None or self.familiarity is None:
            raise InputError(f"--nearest: the Run's data are not at {self.run.config['data']}; leave it out")
        rows = dataset.rows("train", labelled=True)
        rows = rows.sample(min(len(rows), _MOST_ROWS), random_state=0)
        features, readable = [], []
        for batch in batches(dataset, rows):
            readable += [not fault for fault in batch.broken]
            features.append(self.forward(batch.inputs)[0])
        return dataset, rows[readable], np.concatenate(features)

    def _nearest(self, features: np.ndarray) -> list[dict]:
        """Rows of training whose whitened features are nearest."""
        if self.training is None:
            return []
        dataset, rows, references = self.training
        differences = (
            (references - features) @ self.familiarity.whitening
            if self.familiarity.whitening.size
            else references - features
        )
        order = np.argsort(np.linalg.norm(differences, axis=1), kind="stable")[: self.config.nearest]
        nearest = rows.iloc[order]
        return [
            {"label": label, "png": url(view.small(read_image(path), _THUMBNAIL))}
            for label, path in zip(nearest["label"], dataset.paths(nearest), strict=True)
        ]


def url(image: np.ndarray) -> str:
    """A picture inside the page: uint8 (H, W), (H, W, 3) or RGBA (H, W, 4)."""
    if image.ndim == 3 and image.shape[2] == 4:
        content = cv2.imencode(".png", image[:, :, [2, 1, 0, 3]])[1].tobytes()
    else:
        content = encode_png(image)
    return "data:image/png;base64," + base64.b64encode(content).decode("ascii")
