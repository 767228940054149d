"""Fixtures that the whole suite shares: real samples, one phantom Dataset, one trained Run."""

import gc
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from medimg.serving import parity
from tests import proofs, turns
from tests.datasets import write_dataset, write_table
from tests.exhaustive import is_exhaustive

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")
# TensorFlow makes so many objects while it traces a graph that Python's collector, by its own thresholds, looks through
# all of them again and again: a tenth of the suite's processor. `freed_graphs` collects after each module.
gc.set_threshold(200_000, 20, 100)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    turn = turns.named()
    for item in items:
        if turns.waits(item.nodeid, turn):
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.another_turn)
        if is_exhaustive(item.nodeid):
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.exhaustive)


@pytest.fixture(scope="module", autouse=True)
def freed_graphs():
    """Keras keeps the graphs of all models that a process built: gigabytes over the whole suite."""
    yield
    if "tensorflow" in sys.modules:
        sys.modules["tensorflow"].keras.backend.clear_session()
        gc.collect()
        # What is left (TensorFlow and all that the tests import) is there to stay: looking through it again for
        # garbage after every module took four seconds each.
        gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def drafts(request):
    """Figures are drawn coarse, not laid out and without axes, in a fifth of the time, where nobody looks at them."""
    if request.node.get_closest_marker("final_figures"):
        yield
        return
    from matplotlib.figure import Figure

    from medimg.style.figures import STYLE

    final, savefig = dict(STYLE), Figure.savefig

    def bare(figure, *given, **named):
        for axes in figure.axes:
            axes.set_axis_off()
            if legend := axes.get_legend():
                legend.set_visible(False)
        savefig(figure, *given, **named)

    STYLE.update({"figure.constrained_layout.use": False, "savefig.bbox": "standard", "savefig.dpi": 40})
    Figure.savefig = bare
    yield
    Figure.savefig = savefig
    STYLE.update(final)


@pytest.fixture(scope="session", autouse=True)
def forked_proofs():
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(parity, "subprocess", SimpleNamespace(Popen=proofs.begun, PIPE=subprocess.PIPE))
        yield


@pytest.fixture
def fresh_proofs(monkeypatch):
    """For tests whose subject is that the proof's process is a fresh one."""
    monkeypatch.setattr(parity, "subprocess", subprocess)


@pytest.fixture(scope="session")
def medical_data() -> Path:
    """The real samples; tests that need them are skipped where they are absent."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MEDIMG_TEST_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"real samples are not at {folder}; set MEDIMG_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def pretrained_weights(medical_data) -> Path:
    """ImageNet weights without top."""
    folder = medical_data.parent / "weights"
    if not folder.is_dir():
        pytest.skip(f"ImageNet weights are not at {folder}")
    return folder


@pytest.fixture(scope="session")
def phantom_data(tmp_path_factory):
    """240 phantom radiographs of 64 px with masks and boxes of their opacities."""
    from medimg.config import PrepareConfig
    from medimg.phantom.config import PhantomConfig
    from medimg.preparation.prepare import prepare

    drawing = PhantomConfig(patients=160, phantom_size=64, opacity_size=0.11, opacity_contrast=0.45)
    return prepare("phantom", None, tmp_path_factory.mktemp("phantom") / "data", PrepareConfig(), drawing)


@pytest.fixture(scope="session")
def phantom_run(phantom_data, tmp_path_factory):
    """A small CNN trained on `phantom_data`."""
    from medimg.config import TrainConfig
    from medimg.training.train import train

    config = TrainConfig(image_size=64, model_arg={"width": "8", "stages": "3"}, epochs=8, learning_rate=3e-3)
    return train(phantom_data.root, tmp_path_factory.mktemp("runs") / "phantom", config)


@pytest.fixture(scope="session")
def noise(tmp_path_factory):
    """Binary, 48 RGB images of 32 px."""
    return write_dataset(tmp_path_factory.mktemp("noise") / "data")


@pytest.fixture(scope="session")
def small_table(tmp_path_factory):
    """160 rows of 80 patients at 3 sites."""
    return write_table(tmp_path_factory.mktemp("table") / "data")


@pytest.fixture(scope="session")
def execution():
    """TFF's worker, started once for all tests that share one."""
    from federated.tff.execution import Execution

    with Execution() as running:
        yield running


# Of a model that is trained in seconds.
SMALLEST = ("--model-arg", "width=4", "--model-arg", "stages=2", "--image-size", "32", "--epochs", "3")


@pytest.fixture(scope="session")
def folders(tmp_path_factory) -> dict[str, Path]:
    """What commands that write read: Datasets, class folders, two evaluated Runs, synthetic rows; by their names."""
    import cv2
    import numpy as np

    from tests.command import medimg

    root = tmp_path_factory.mktemp("writers")
    write_dataset(root / "data")
    write_table(root / "table")
    draw = np.random.default_rng(0)
    for name in ("fit", "sick"):
        (root / "films" / name).mkdir(parents=True)
        for i in range(60):
            image = draw.integers(0, 255, (64, 64), np.uint8)
            cv2.imwrite(str(root / f"films/{name}/{name}{i}.png"), image)
    commands = [("synthesize", root / "table", "--model", "marginals", "--out", root / "made")]
    for run, rate in (("run", "0.001"), ("other", "0.01")):
        commands += [("train", root / "data", "--out", root / run, *SMALLEST, "--learning-rate", rate)]
        commands += [("evaluate", root / run, "--bootstrap", "20")]
    for words in commands:
        result = medimg(*words)
        assert result.exit_code == 0, result.output
    return {path.name: path for path in root.iterdir()}
