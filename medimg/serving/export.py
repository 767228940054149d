"""export(): a Run -> `saved_models/NAME/<version>/`, proved against the Run before it gets its name."""

import base64
import csv
import io
import shlex
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import numpy as np
import tensorflow as tf

from medimg import atomic
from medimg.data.schema import MISSING
from medimg.dicom import burned_in, pixels
from medimg.errors import InputError
from medimg.evaluation.operating_point import thresholds
from medimg.evaluation.prediction import predict
from medimg.lock import content, require_other, writes
from medimg.preparation.decoding import prepared_size
from medimg.privacy.recount import promise_of
from medimg.run import Run
from medimg.serving import check, onnx_model
from medimg.serving.answer import ServedAnswer
from medimg.serving.both import ServedBoth
from medimg.serving.checks import checks
from medimg.serving.config import ExportConfig
from medimg.serving.drawn_images import drawn_images
from medimg.serving.images import Served
from medimg.serving.model_card import Proof, model_card
from medimg.serving.parity import CLIENT, parity
from medimg.serving.requests import raw_requests, sample, warmup_requests, write_warmup
from medimg.serving.table_card import left_out
from medimg.serving.table_columns import example_row, inputs_of, served_columns
from medimg.serving.tables import ServedTable
from medimg.tables.preprocessing import Preprocessing

# Of a table, beside the warm-up: how columns and inputs go together, and a request's body to start from.
COLUMNS = Path("assets.extra") / "columns.json"
REQUEST = Path("assets.extra") / "request.json"
# Beside the versions, a script that asks a server; in each version, what it asks and what the model answered.
SCRIPT, CHECKS = "check.py", Path("assets.extra") / "check.json"
RUNTIMES = {"savedmodel": "TensorFlow", "onnx": "ONNX Runtime"}
DICOM = {"dicom_pixels.py": pixels, "dicom_text.py": burned_in}


@writes("out")
def export(run: Run, out: Path, config: ExportConfig, progress: Callable[[int, int], None] | None = None) -> Path:
    """Write a SavedModel with its warm-up requests, or an ONNX model, and its card under the next version number.

    Args:
        run: a finished training.
        out: saved_models/NAME.
        config: options.
        progress: called with steps done and steps in all.

    Returns:
        out/<version>.

    Raises:
        InputError: `out` can't be written or holds another format, the Run's images or its privacy.json are
            gone, or the exported model's probabilities differ from the Run's; nothing is left behind.
    """
    step = progress or (lambda done, total: None)
    require_other(out)
    run = run.with_data_at(config.data)
    private = promise_of(run.root, run.config["options"]) is not None
    dataset, model = run.dataset(), run.model()
    description = {**run.description(), "prepared_size": prepared_size(run.description(), dataset)}
    rows = sample(dataset, description, config.samples)
    expected = predict(model, dataset, rows, description)
    step(1, 4)
    out = Path(out)
    _require_format(out, config.format)
    temporary = _temporary(out)
    try:
        kind = ServedBoth if "metadata" in description else ServedTable if dataset.is_table else Served
        served = kind(model, description, thresholds(run, description))
        if config.format == "onnx":
            onnx_model.save(served, description, temporary)
        else:
            _save(served, temporary)
        step(2, 4)
        difference = parity(temporary, raw_requests(dataset, rows, description), expected, RUNTIMES[config.format])
        step(3, 4)
        if not difference <= config.tolerance:
            raise InputError(
                f"{out}: not exported: reloaded, the model's probabilities differ by {difference:.2e} from the Run's "
                f"(--tolerance {config.tolerance:g}) on {len(rows)} {dataset.unit}s"
            )
        if config.format == "savedmodel":
            write_warmup(temporary, out.name, warmup_requests(description, config.samples))
        _write_checks(temporary, served, description, config)
        if dataset.is_table or "metadata" in description:
            _write_columns(temporary, description, private, config.format)
        card = model_card(run, dataset, Proof(difference, config.tolerance, len(rows), RUNTIMES[config.format]))
        (temporary / "model_card.md").write_text(card, encoding="utf-8")
        step(4, 4)
        _write_scripts(out, config.format, dataset.is_table)
        return _name(temporary, out)
    except OSError as error:
        raise atomic.cannot_write(out, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def serving_commands(out: Path, name: str) -> list[str]:
    """Lines for a POSIX shell: serve the export with Docker, ask about an image or a table's row, check the server.

    Of an ONNX model, which no server is needed for: check it.
    """
    folder = Path(out).resolve()
    if (folder / str(_latest(folder)) / onnx_model.MODEL).is_file():
        return [shlex.join(["python", str(folder / SCRIPT)])]
    address = f"http://localhost:8501/v1/models/{quote(name)}:predict"
    request = folder / str(_latest(folder)) / REQUEST
    if request.is_file():
        ask = shlex.join(["curl", "-s", "-d", f"@{request}", address])
    else:
        ask = (
            f'printf \'{{"instances": [{{"image_bytes": {{"b64": "%s"}}}}]}}\' "$(base64 -w0 image.png)" '
            f"| curl -s -d @- {shlex.quote(address)}"
        )
    mount = io.StringIO()
    # Docker reads a mount as a line of CSV.
    csv.writer(mount, lineterminator="").writerow(["type=bind", f"source={folder}", f"target=/models/{name}"])
    ports = ["-p", "8500:8500", "-p", "8501:8501"]
    names = ["-e", f"MODEL_NAME={name}", "--mount", mount.getvalue(), "tensorflow/serving:2.14.1"]
    servers = ["--rest", "http://localhost:8501", "--grpc", "localhost:8500"]
    return [
        shlex.join(["docker", "run", "--rm", *ports, *names]),
        ask,
        shlex.join(["python", str(folder / SCRIPT), *servers]),
    ]


def _temporary(out: Path) -> Path:
    """A folder beside the versions; those of exports that were killed go, since nobody else is at it now."""
    for left in out.glob(".exporting-*"):
        shutil.rmtree(left, ignore_errors=True)
    try:
        return Path(tempfile.mkdtemp(prefix=".exporting-", dir=out))
    except OSError as error:
        raise atomic.cannot_write(out, error) from error


def _save(served: ServedAnswer, folder: Path) -> None:
    try:
        tf.saved_model.save(served, str(folder), signatures=served.signatures())
    except tf.errors.OpError as error:
        raise InputError(f"{folder.parent}: can't be written ({error.message.splitlines()[0]})") from error


def _require_format(out: Path, chosen: str) -> None:
    """TensorFlow Serving takes the highest version, and can't load one of ONNX."""
    for version in content(out):
        if version.name.isdecimal() and (version / onnx_model.MODEL).is_file() != (chosen == "onnx"):
            raise InputError(f"--format {chosen}: {out} holds versions of another format; give --out another name")


def _write_checks(folder: Path, served: ServedAnswer, description: dict, config: ExportConfig) -> None:
    """What the script beside the versions asks, and what the model answered."""
    (folder / CHECKS).parent.mkdir(exist_ok=True)
    content = {"tolerance": config.tolerance, "requests": checks(served, description)}
    content |= {"dicom": description["dicom"]} if "dicom" in description else {}
    content |= {"missing": MISSING} if isinstance(served, ServedTable) else {}
    atomic.write_json(folder / CHECKS, content)


def _write_scripts(out: Path, chosen: str, is_table: bool) -> None:
    """Beside the versions: what asks a server or ONNX Runtime, and what it reads DICOM files by."""
    for script in map(Path, [check.__file__, *([CLIENT] if chosen == "onnx" else [])]):
        atomic.write_text(out / script.name, script.read_text(encoding="utf-8"))
    for name, script in ({} if is_table else DICOM).items():
        atomic.write_text(out / name, Path(script.__file__).read_text(encoding="utf-8"))


def _write_columns(folder: Path, description: dict, private: bool, chosen: str) -> None:
    preprocessing = Preprocessing.from_dict(description.get("preprocessing") or description["metadata"])
    columns = served_columns(preprocessing)
    described = [column.to_dict() for column in columns]
    atomic.write_json(folder / COLUMNS, {"inputs": described, "left_out": left_out(preprocessing, private)})
    if chosen == "onnx":
        return
    inputs = inputs_of(example_row(preprocessing), columns)
    instance = {name: np.asarray(values).tolist()[0] for name, values in inputs.items()}
    if "metadata" in description:
        image = next(iter(drawn_images(1, description["image_size"], 0)))
        instance["image_bytes"] = {"b64": base64.b64encode(image).decode()}
    atomic.write_json(folder / REQUEST, {"instances": [instance]})


def _name(temporary: Path, out: Path) -> Path:
    """Rename to the next free version number."""
    temporary.chmod(0o755)
    return temporary.rename(out / str(_latest(out) + 1))


def _latest(out: Path) -> int:
    """The highest version number, 0 where there is none."""
    return max((int(folder.name) for folder in content(out) if folder.name.isdecimal()), default=0)
