"""Decoding in processes of their own: the same pixels and words, and no process is left."""

import io
import os
import threading

import numpy as np
import pytest

from medimg.dicom.decoders import Decoders
from medimg.dicom.pixels import read_frame
from tests.volumes import write_dicom


def test_processes_answer_as_the_function_does_and_end_with_their_threads(tmp_path):
    path = str(tmp_path / "a.dcm")
    write_dicom(tmp_path / "a.dcm", np.random.default_rng(0).integers(0, 4000, (3, 9, 7)).astype(np.uint16))
    decode, seen = Decoders(), []

    def work():
        for file in (path, io.BytesIO((tmp_path / "a.dcm").read_bytes())):
            seen.append(np.array_equal(decode(file, 2, (900.0, 500.0), 100), read_frame(path, 2, (900.0, 500.0))))
        with pytest.raises(ValueError, match="holds no pixels"):
            decode(io.BytesIO(b"none"), None, None, 100)
        seen.append(decode._own.process._process.pid)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen[:2] == [True, True]
    with pytest.raises(ProcessLookupError):
        os.kill(seen[2], 0)


def test_a_process_that_dies_costs_one_file(tmp_path):
    write_dicom(tmp_path / "a.dcm", np.zeros((4, 4), np.uint8))
    decode = Decoders()
    assert decode(str(tmp_path / "a.dcm")).shape == (4, 4)
    decode._own.process._process.kill()
    assert decode(str(tmp_path / "a.dcm")).shape == (4, 4)


@pytest.mark.parametrize(
    "answer", ['{"shape": [-1, 2], "dtype": "uint8"}', '{"shape": [4, 4], "dtype": "object"}', "[]", "no JSON", ""]
)
def test_a_decoder_that_a_file_has_taken_over_is_not_trusted(answer, tmp_path, monkeypatch):
    script = tmp_path / "decoder.py"
    script.write_text(f"import sys\nsys.stdin.readline()\nprint({answer!r} + ' ' * 9)\n")
    monkeypatch.setattr("medimg.dicom.decoders.pixels.__file__", str(script))
    with pytest.raises(ValueError, match="truncated or broken"):
        Decoders()("any.dcm")
