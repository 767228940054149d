"""A round between three sites' own processes over the link, against the same round in one process and stock Flower's.

Ours are `medimg federate` with the same options on the same phantom images, TLS and keys on; stock Flower has the same
model, rows, batches and optimizer as a NumPyClient, without TLS and keys, and measures nothing at the server. What a
round needs beside the slowest site's own training is transport, signatures, masks, and the coordinator's own work
(screening, validation, log, checkpoint); at the right price it is less than a round in one process, which trains site
after site. `python -m benchmarks.hospitals_apart ours`: without stock Flower.
"""

import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import tomli_w

from benchmarks.material import table

SIZE, ROUNDS, SITES, BATCH, RATE = 64, 5, 3, 32, 0.01
# Weights of 4.7 MB, and of 10 MB.
WIDTHS = {"baseline_cnn": {}, "baseline_cnn, 10 MB": {"width": "48"}}
PROMISES = {"none": 6.0, "masking": 15.0}
_STOCK = Path(__file__).parent / "peers" / "stock_flower"
_ENDS = "from federated.flower.child import ends_with_parent as ends; ends()"
_PATIENCE = 600.0


def data_of(folder: Path):
    from medimg.config import PrepareConfig
    from medimg.phantom.config import PhantomConfig
    from medimg.preparation.prepare import prepare

    return prepare("phantom", None, folder, PrepareConfig(image_size=SIZE), PhantomConfig(patients=90, sites=SITES))


def rounds(data: Path, out: Path, config) -> tuple[float, float, float, float]:
    """Medians of the rounds after the first (seconds, those of the slowest site, MB up), best validation loss."""
    import pandas as pd

    from federated.federate import federate

    run = federate(data, out, config)
    history = run.history()
    slowest = pd.read_csv(run.root / "rounds.csv").groupby("round")["seconds"].max()
    later = history.iloc[1:]
    took, megabytes = later["seconds"].median(), later["bytes_up"].median() / 1e6
    return float(took), float(slowest.iloc[1:].median()), float(megabytes), float(history["val_loss"].min())


def _written(dataset, folder: Path) -> list[str]:
    """The sites' names; what each learns from is in a file of its own."""
    from federated.config import FederateConfig
    from federated.partition import partition
    from medimg.pipeline.pixels import load_image

    names = []
    for client in partition(dataset, FederateConfig()):
        rows = client.dataset.rows("train", labelled=True)
        images = np.stack([load_image(path, SIZE, 1) for path in client.dataset.paths(rows)])
        np.savez(folder / f"{client.name}.npz", x=images, y=client.dataset.targets(rows))
        names.append(client.name)
    return names


def _configure(app: Path, folder: Path, port: int, arguments: dict, classes: int) -> None:
    """Write the options of stock Flower's app."""
    model = {"name": "baseline_cnn", "image_size": SIZE, "channels": 1, "classes": classes}
    model |= {"norm": "group", "model_arg": {name: int(value) for name, value in arguments.items()}}
    settings = {"data": str(folder), "rounds": ROUNDS, "batch": BATCH, "rate": RATE, "model": json.dumps(model)}
    project = tomllib.loads((app / "pyproject.toml").read_text())
    project["tool"]["flwr"]["app"]["config"] = settings
    project["tool"]["flwr"]["federations"]["local"]["address"] = f"127.0.0.1:{port + 1}"
    (app / "pyproject.toml").write_text(tomli_w.dumps(project))


def stock(dataset, folder: Path, arguments: dict) -> float:
    """Median seconds of stock Flower's rounds after the first."""
    from federated.flower import child
    from federated.flower.link import free_ports

    folder = folder / "stock"
    app = Path(shutil.copytree(_STOCK, folder / "app"))
    names, port = _written(dataset, folder), free_ports()
    _configure(app, folder, port, arguments, len(dataset.classes))
    environment = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(Path.cwd())}
    quiet = {**environment, "FLWR_HOME": str(folder / "flwr"), "FLWR_TELEMETRY_ENABLED": "0"}
    with ExitStack() as stack:

        def start(function: str, *more) -> None:
            process = child.start(["-c", f"{_ENDS}; from {function} as main; main()", *more], folder / "log", quiet)
            stack.callback(child.stop, process)

        start(
            *("flwr.server.app import run_superlink", "--insecure", "--fleet-api-address", f"127.0.0.1:{port}"),
            *("--serverappio-api-address", f"127.0.0.1:{port - 1}", "--control-api-address", f"127.0.0.1:{port + 1}"),
        )
        for name in names:
            start(
                *("flwr.supernode.cli import flower_supernode", "--insecure", "--superlink", f"127.0.0.1:{port}"),
                *("--clientappio-api-address", f"127.0.0.1:{free_ports()}", "--node-config", f'site="{name}"'),
            )
        end, ended = time.monotonic() + _PATIENCE, folder / "ended.json"
        while not _listens(port + 1):
            _within(end, folder)
            time.sleep(0.5)
        run = [sys.executable, "-c", "from flwr.cli.app import app; app()", "run", str(app), "local"]
        subprocess.run(run, check=True, env={**os.environ, **quiet}, capture_output=True)
        while not ended.is_file() or len(json.loads(ended.read_text())) <= ROUNDS:
            _within(end, folder)
            time.sleep(0.5)
        return statistics.median(np.diff(json.loads(ended.read_text()))[1:])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _within(end: float, folder: Path) -> None:
    if time.monotonic() > end:
        raise RuntimeError((folder / "log").read_text())


def main() -> None:
    from federated.config import FederateConfig
    from federated.flower.rehearse import rehearsal

    lines, first_overhead = [], {}
    shared = {"image_size": SIZE, "rounds": ROUNDS, "comparison": False}
    shared |= {"batch_size": BATCH, "learning_rate": RATE, "client_optimizer": "momentum"}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        dataset = data_of(root / "data")
        stock_seconds = float("nan") if sys.argv[1:] == ["ours"] else stock(dataset, root, WIDTHS["baseline_cnn"])
        for model, arguments in WIDTHS.items():
            (root / model).mkdir()
            plain = FederateConfig(**shared, model_arg=arguments)
            local_seconds, _, _, loss = rounds(dataset.root, root / model / "here", plain)
            for secure, promise in PROMISES.items():
                config = replace(plain, secure=secure)
                with rehearsal(dataset.root, config, root / model / f"kept-{secure}") as (held_out, at_sites):
                    site_seconds, slowest, megabytes, site_loss = rounds(
                        held_out, root / model / f"apart-{secure}", at_sites
                    )
                overhead = site_seconds - slowest
                if secure in first_overhead:
                    limit, ratio = f"< {first_overhead[secure] + 5:.3g}", ""
                else:
                    limit, ratio = f"< {promise:g}", f"{site_seconds / stock_seconds:.2f}"
                    first_overhead[secure] = overhead
                seconds = [local_seconds, site_seconds, slowest, overhead, limit, stock_seconds, ratio]
                lines.append([model, secure, megabytes, *seconds, abs(loss - site_loss)])
                print(lines[-1], file=sys.stderr, flush=True)
    columns = ["model", "secure", "MB up", "one process s", "apart s", "slowest site s", "beside it s", "promise"]
    table([*columns, "stock Flower s, baseline_cnn", "ratio (promise <= 0.5)", "difference of val loss"], lines)


if __name__ == "__main__":
    main()
