"""A round between processes of three sites over Flower's link against the same round in one process.

Both are `medimg federate` on the same phantom images with the same options; the difference is what transport,
signatures, masks and separate processes cost, as a user has it: the coordinator's own work is in both.
"""

import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

from benchmarks.material import table

SIZE, ROUNDS, SITES = 64, 6, 3
# Weights of about 1 MB, and of 10 MB.
WIDTHS = {"baseline_cnn": {}, "baseline_cnn, 10 MB": {"width": "48"}}
PROMISES = {"none": 6.0, "masking": 15.0}


def data_of(folder: Path) -> Path:
    from medimg.config import PhantomConfig, PrepareConfig
    from medimg.preparation.prepare import prepare

    return prepare(
        "phantom", None, folder, PrepareConfig(image_size=SIZE), PhantomConfig(patients=90, sites=SITES)
    ).root


def rounds(data: Path, out: Path, config) -> tuple[list[float], float, int]:
    """Seconds of the rounds after the first, best validation loss, bytes that sites sent in a round."""
    from federated.federate import federate

    history = federate(data, out, config).history()
    later = history.iloc[1:]
    return later["seconds"].tolist(), float(history["val_loss"].min()), int(later["bytes_up"].median())


def main() -> None:
    from federated.config import FederateConfig
    from federated.flower.rehearse import rehearsal

    lines = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        data = data_of(root / "data")
        for model, arguments in WIDTHS.items():
            for secure, promise in PROMISES.items():
                config = FederateConfig(
                    image_size=SIZE, model_arg=arguments, rounds=ROUNDS, comparison=False, secure=secure
                )
                name = f"{model}-{secure}".replace(" ", "-")
                here, loss, _ = rounds(data, root / f"here-{name}", config)
                with rehearsal(data, replace(config), root / f"kept-{name}") as (held_out, apart):
                    there, loss_there, sent = rounds(held_out, root / f"apart-{name}", apart)
                together, between = statistics.median(here), statistics.median(there)
                told = f"< {promise:g} s" if model == "baseline_cnn" else "< 5 s over baseline_cnn's"
                lines.append(
                    [model, secure, sent / 1e6, together, between, between - together, told, abs(loss - loss_there)]
                )
    columns = ["model", "secure", "MB sent a round", "one process s", "apart s", "overhead s", "promise"]
    table([*columns, "difference of validation loss"], lines)


if __name__ == "__main__":
    main()
