"""What a link's folder keeps of trainings that have not begun."""

import json
import threading

from federated.config import FederateConfig
from federated.flower import link_folder
from federated.flower.link_folder import LinkFolder


def test_of_two_trainings_at_once_none_loses_the_others_name(tmp_path, monkeypatch):
    """The first is about to write its own when the second begins."""
    place, config = LinkFolder(tmp_path, "127.0.0.1:9092"), FederateConfig()
    writing, over, write = threading.Event(), threading.Event(), link_folder.atomic.write_json
    names = {}

    def slow(path, content):
        if not writing.is_set():
            writing.set()
            over.wait(2)
        write(path, content)

    def ask(out):
        names[out] = place.name_of(tmp_path / out, config)

    monkeypatch.setattr(link_folder.atomic, "write_json", slow)
    first = threading.Thread(target=ask, args=("a",))
    first.start()
    assert writing.wait(60)
    second = threading.Thread(target=lambda: (ask("b"), over.set()))
    second.start()
    for thread in (first, second):
        thread.join()
    assert sorted(json.loads((tmp_path / "asked.json").read_text()).values()) == sorted(names.values())
    # Started again before there is a Run, each is called the same; there is one, the name is forgotten.
    assert {out: place.name_of(tmp_path / out, config) for out in names} == names
    place.forget(tmp_path / "a", config)
    assert list(json.loads((tmp_path / "asked.json").read_text()).values()) == [names["b"]]
