"""Parties on one machine that are apart: each with a user, a folder and a network namespace of its own, on one switch.

Needs root on Linux with iproute2 and setpriv. A party reaches the link's namespace alone: ports of the switch are
isolated from each other, and nothing leads out of it.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
LINK, NETWORK = "link", "10.77.0"
_SWITCH = "medimg0"
# What a namespace's own mounts show: the interpreter, although it lies below a folder that is closed to others.
_OPEN = 'mount --bind "$1" "$2" && mount -t tmpfs -o mode=755 tmpfs "$3" && mkdir -p "$1" && mount --bind "$2" "$1"'


def require() -> None:
    """Say what is missing.

    Raises:
        SystemExit: it is.
    """
    missing = [name for name in ("ip", "bridge", "setpriv", "tcpdump", "useradd") if not shutil.which(name)]
    if os.geteuid() or missing:
        sys.exit(f"needs root and {', '.join(missing) or 'nothing else'}")


class Parties:
    """A link and its sites, as long as the context lasts.

    Args:
        root: folder that theirs are made in.
        sites: names.

    Attributes:
        folders: name -> its folder, which its user alone reads.
    """

    def __init__(self, root: Path, sites: list[str]):
        self.root, self._running = root, []
        root.chmod(0o755)
        self.folders = {name: root / name for name in (LINK, *sites)}
        self._stash = root / "interpreter"
        self._stash.mkdir()

    def __enter__(self) -> "Parties":
        try:
            for number, name in enumerate(self.folders, 1):
                self._made(number, name)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_) -> None:
        for process in self._running:
            process.terminate()
        for process in self._running:
            process.wait()
        for number in range(1, len(self.folders) + 1):
            _quietly("ip", "netns", "del", _place(number))
            _quietly("userdel", _place(number))

    def address(self, name: str) -> str:
        """Of a party."""
        return f"{NETWORK}.{self._number(name)}"

    def start(self, name: str, *words, **options) -> subprocess.Popen:
        """A Python command of a party, by its user, in its folder and namespace."""
        process = subprocess.Popen(self._words(name, words), text=True, **options)
        self._running.append(process)
        return process

    def run(self, name: str, *words) -> str:
        """The same, waited for; what it printed.

        Raises:
            RuntimeError: it failed.
        """
        process = subprocess.run(self._words(name, words), capture_output=True, text=True, check=False)
        if process.returncode:
            raise RuntimeError(f"{name}: {words}: {process.stdout}{process.stderr}")
        return process.stdout

    def inside(self, name: str, *words) -> list[str]:
        """Words of a command of root's in a party's namespace."""
        return ["ip", "netns", "exec", _place(self._number(name)), *map(str, words)]

    def capture(self, interface: str, target: Path) -> subprocess.Popen:
        """Write what passes the link's `switch` or its loopback to a file."""
        name = _SWITCH if interface == "switch" else interface
        words = self.inside(LINK, "tcpdump", "-i", name, "-U", "-B", "65536", "-Z", "root", "-w", target)
        process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
        process.stderr.readline()  # It listens.
        self._running.append(process)
        return process

    def own(self, name: str) -> None:
        """Give all that lies in a party's folder to its user."""
        user = _place(self._number(name))
        subprocess.run(["chown", "-R", f"{user}:{user}", self.folders[name]], check=True)

    def _number(self, name: str) -> int:
        return list(self.folders).index(name) + 1

    def _words(self, name: str, words: tuple) -> list[str]:
        user, folder = _place(self._number(name)), self.folders[name]
        environment = [f"HOME={folder}", f"PATH={os.environ['PATH']}", f"PYTHONPATH={REPOSITORY}", "LANG=C.UTF-8"]
        environment += ["TF_CPP_MIN_LOG_LEVEL=3", "PYTHONWARNINGS=ignore", "PYTHONDONTWRITEBYTECODE=1"]
        base = Path(sys.base_prefix)
        closed = next((str(p) for p in reversed(base.parents) if not p.stat().st_mode & 0o001), "")
        opened = f'[ -z "$3" ] || {{ {_OPEN}; }}; cd "$4"; shift 4; exec "$@"'
        by = ["setpriv", "--reuid", user, "--regid", user, "--clear-groups", "--no-new-privs", "--inh-caps=-all"]
        return self.inside(
            name,
            *("bash", "-ec", opened, "-", base, self._stash, closed, folder, *by, "env", "-i", *environment),
            *(sys.executable, *words),
        )

    def _made(self, number: int, name: str) -> None:
        place, folder = _place(number), self.folders[name]
        subprocess.run(["useradd", "--system", "--user-group", "--no-create-home", "-d", folder, place], check=True)
        folder.mkdir(mode=0o700)
        self.own(name)
        _ip("netns", "add", place)
        _ip("-n", place, "link", "set", "lo", "up")
        if name == LINK:
            _ip("-n", place, "link", "add", _SWITCH, "type", "bridge")
            inner = _SWITCH
        else:
            inner, port, hub = "eth0", f"port{number}", _place(1)
            _ip("-n", place, "link", "add", inner, "type", "veth", "peer", "name", port, "netns", hub)
            _ip("-n", hub, "link", "set", port, "master", _SWITCH, "up")
            subprocess.run(["bridge", "-n", hub, "link", "set", "dev", port, "isolated", "on"], check=True)
        _ip("-n", place, "address", "add", f"{NETWORK}.{number}/24", "dev", inner)
        _ip("-n", place, "link", "set", inner, "up")


def payloads(capture: Path) -> bytes:
    """What TCP carried in a capture, stream by stream, so that what was cut into packets is whole again."""
    raw, streams, offset = capture.read_bytes(), {}, 24
    while offset + 16 <= len(raw):
        size = int.from_bytes(raw[offset + 8 : offset + 12], sys.byteorder)
        packet = raw[offset + 16 : offset + 16 + size]
        offset += 16 + size
        if packet[12:14] != b"\x08\x00" or packet[23] != 6:
            continue
        start = 14 + 4 * (packet[14] & 15)
        end = 14 + int.from_bytes(packet[16:18], "big")
        body = start + 4 * (packet[start + 12] >> 4)
        streams.setdefault((packet[26:34], packet[start : start + 4]), []).append(packet[body:end])
    return b"".join(b"".join(parts) for parts in streams.values())


def memory(pid: int) -> list[bytes]:
    """What a process can write to of its memory, as it is now: heaps, stacks and all that was mapped by it."""
    parts = []
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as file:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            first, last, access = re.match(r"(\w+)-(\w+) (\S+)", line).groups()
            if access[1] != "w" or "[v" in line:
                continue
            try:
                file.seek(int(first, 16))
                parts.append(file.read(int(last, 16) - int(first, 16)))
            except (OSError, OverflowError):
                # Reserved, and never touched.
                continue
    return parts


def _place(number: int) -> str:
    """Name of a party's user and namespace."""
    return f"medimg-{number}"


def _ip(*words) -> None:
    subprocess.run(["ip", *map(str, words)], check=True)


def _quietly(*words) -> None:
    subprocess.run(words, check=False, stderr=subprocess.DEVNULL)
