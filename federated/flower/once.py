"""What a site has committed itself to in a run, on disk: what is asked again must be what was asked before.

Two answers to one question that differ in what the coordinator chose show what lies between them: a round repeated from
other weights, a plan changed in the middle, a second set of rows counted.
"""

from pathlib import Path

from federated.flower import record
from federated.flower.policy import PolicyError


class Once:
    """A site's record of one run.

    Args:
        path: its file.

    Raises:
        InputError: the file is damaged, so that the site does not know what it has answered.
    """

    def __init__(self, path: Path):
        self.path, self._known = path, record.read(path, list)

    def knows(self, what: str) -> bool:
        """Whether such a question is on record."""
        return what in self._known

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
        record.write(self.path, self._known)

    def follow(self, what: str, now: str) -> str:
        """Put on record what is so now.

        Args:
            what: names it.
            now: what it is.

        Returns:
            What was so before; empty: nothing was.
        """
        before, last = self._known.get(what, ["", ""])
        if now != last:
            before = last
            self._known[what] = [before, now]
            record.write(self.path, self._known)
        return before
