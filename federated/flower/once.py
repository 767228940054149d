"""What a site has committed itself to in a run, on disk: what is asked again must be what was asked before.

Two answers to one question that differ in what the coordinator chose show what lies between them: a round repeated from
other weights, a plan changed in the middle, a second set of rows counted.
"""

import json
import os
from pathlib import Path

from federated.flower.policy import PolicyError
from medimg import atomic
from medimg.errors import InputError


class Once:
    """A site's record of one run.

    Args:
        path: its file.

    Raises:
        InputError: the file is damaged, so that the site does not know what it has answered.
    """

    def __init__(self, path: Path):
        self.path, self._known = path, {}
        if path.is_file():
            try:
                self._known = {name: list(of) for name, of in json.loads(path.read_text(encoding="utf-8")).items()}
            except (ValueError, AttributeError, TypeError) as error:
                raise InputError(f"{path}: damaged, and with it what this site has answered") from error

    def settle(self, what: str, digest: str, most: int = 1) -> None:
        """Put on record what a question was, before it is answered.

        Args:
            what: names it.
            digest: of all that decides the answer.
            most: different ones that are answered.

        Raises:
            PolicyError: others were answered before.
        """
        known = self._known.setdefault(what, [])
        if digest in known:
            return
        if len(known) >= most:
            raise PolicyError(f"{what}: was answered before in this run, from something else; two would tell too much")
        known.append(digest)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with atomic.replacing(self.path) as temporary, temporary.open("w", encoding="utf-8") as file:
            json.dump(self._known, file)
            file.flush()
            os.fsync(file.fileno())
