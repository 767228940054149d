"""The built-in phantom, and where it is kept."""

import shutil
from functools import partial

from medimg.data.cache import cache_folder
from medimg.data.dataset import Dataset
from medimg.phantom.config import PhantomConfig
from medimg.preparation import builtin
from medimg.preparation.builtin import resolve


def test_the_built_in_phantom_is_drawn_once(tmp_path, monkeypatch):
    # Fewer patients than by default, which the demo draws.
    monkeypatch.setattr(builtin, "PhantomConfig", partial(PhantomConfig, patients=40))
    monkeypatch.setenv("MEDIMG_CACHE", str(tmp_path / "cache"))
    assert cache_folder() == tmp_path / "cache"
    assert resolve("some/folder").parts == ("some", "folder")
    folder = resolve("phantom")
    # Of those that were killed as they drew, one by an earlier version.
    shutil.rmtree(folder)
    for left in (f".{folder.name}", f".{folder.name}-4711"):
        (tmp_path / "cache" / left / "images").mkdir(parents=True)
    assert resolve("phantom") == folder
    written = (folder / "dataset.yaml").stat().st_mtime_ns
    assert resolve("phantom") == folder
    assert (folder / "dataset.yaml").stat().st_mtime_ns == written
    assert Dataset.load(folder).classes == ("normal", "opacity")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [folder.name]
    monkeypatch.delenv("MEDIMG_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "medimg"
