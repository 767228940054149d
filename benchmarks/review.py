"""The review page under load: 50 readers at once, and 1,000 uploads that are no images.

`python -m benchmarks.review [RUN] [--readers 50] [--malformed 1000]` starts `medimg review RUN`, sends each reader's
images, then the malformed ones by as many at once, then images again. Printed: answers, seconds an answer, statuses,
memory of the process and its decoders before and after. Ends with 1 where an answer is not 200, a malformed upload no
4xx, the server died, or memory grew by more than 10%.
"""

import argparse
import http.client
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import psutil

from benchmarks.predict import trained
from medimg.serving.drawn_images import drawn_images
from tests.explain.review.test_review import JPEG2000, malformed

_MOST_GROWTH = 0.10
_EACH = 4  # images of a reader


def main() -> int:
    """Exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?", help="default: a small model of the phantom, trained now")
    parser.add_argument("--readers", type=int, default=50)
    parser.add_argument("--malformed", type=int, default=1000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.run is None:
            trained(Path(folder))
            options.run = Path(folder) / "run"
        return _started(options)


def _started(options) -> int:
    command = [sys.executable, "cli.py", "review", str(options.run)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            address = urlsplit(server.stdout.readline().strip())
            return _measured(psutil.Process(server.pid), address, options)
        finally:
            server.terminate()


def _measured(process: psutil.Process, address, options) -> int:
    token = parse_qs(address.query)["token"][0]

    def post(data: bytes) -> tuple[int, float]:
        began = time.monotonic()
        connection = http.client.HTTPConnection(address.netloc, timeout=300)
        connection.request("POST", "/answer", data, {"x-medimg-token": token, "x-medimg-name": "a.png"})
        answer = connection.getresponse()
        json.loads(answer.read())
        connection.close()
        return answer.status, time.monotonic() - began

    draw, good = np.random.default_rng(0), [*drawn_images(11, 256), JPEG2000]
    bad = [malformed(draw, good) for _ in range(options.malformed)]
    images = [good[i % len(good)] for i in range(options.readers * _EACH)]
    with ThreadPoolExecutor(options.readers) as readers:
        # What decodes a kind of file stays: it is there from its first.
        list(readers.map(post, images + bad[:50]))
        start_bytes = _memory(process)
        answers = list(readers.map(post, images))
        refusals = list(readers.map(post, bad))
        again = list(readers.map(post, images))
    end_bytes = _memory(process)
    seconds = np.array([took for _, took in answers + again])
    statuses = Counter(status for status, _ in refusals)
    fine = {status for status, _ in answers + again} == {200}
    print(f"{options.readers} readers at once, {len(seconds)} answers: {'all 200' if fine else 'NOT all 200'}")
    print(f"seconds to an answer: median {np.median(seconds):.2f}, 95% within {np.quantile(seconds, 0.95):.2f}")
    print(f"{len(refusals)} malformed uploads: {dict(sorted(statuses.items()))}")
    print(
        f"memory {start_bytes / 1e6:.0f} MB before, {end_bytes / 1e6:.0f} MB after ({end_bytes / start_bytes - 1:+.1%})"
    )
    refused_well = all(400 <= status < 500 for status in statuses)
    return 0 if fine and refused_well and process.is_running() and end_bytes <= (1 + _MOST_GROWTH) * start_bytes else 1


def _memory(process: psutil.Process) -> int:
    """Resident bytes of the server and its decoders."""
    return sum(member.memory_info().rss for member in [process, *process.children(recursive=True)])


if __name__ == "__main__":
    sys.exit(main())
