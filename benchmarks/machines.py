"""Machines of a walk: each a network namespace on one switch, with an /etc, a /var/lib, an /opt and a /srv of its own.

Needs root on Linux with iproute2.
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
LINK, NETWORK = "link", "10.78.0"
_SWITCH = "medimg1"
_PATIENCE = 300.0
_MACHINE = """
mount -t tmpfs tmpfs "$1"
for of in etc var/lib; do
  mkdir -p "$1/$of/up" "$1/$of/work"
  mount -t overlay overlay -o "lowerdir=/$of,upperdir=$1/$of/up,workdir=$1/$of/work" "/$of"
done
mount -t tmpfs -o mode=755 tmpfs /opt
mount -t tmpfs -o mode=755 tmpfs /srv
mkdir -p "$1/interpreter"
if [ -n "$3" ]; then
  mount --bind "$2" "$1/interpreter"
  mount -t tmpfs -o mode=755 tmpfs "$3"
  mkdir -p "$2"
  mount --bind "$1/interpreter" "$2"
fi
cp -r "$4" /srv/heart
echo ready
exec sleep infinity
"""
_MEDIMG = f"""#!/bin/sh
export PYTHONPATH={REPOSITORY} PYTHONDONTWRITEBYTECODE=1 PYTHONWARNINGS=ignore TF_CPP_MIN_LOG_LEVEL=3
exec {sys.executable} -m cli "$@"
"""
_SUDO = """#!/bin/sh
user=$2
shift 2
exec runuser -u "$user" -- "$@"
"""


class Machine:
    """One of them.

    Args:
        number: on the switch.
        name: link or a hospital's.
        data: folder of its Dataset.
        root: for what is its own here.
    """

    def __init__(self, number: int, name: str, data: Path, root: Path):
        self.name, self.place, self.address = name, f"docs-{number}", f"{NETWORK}.{number}"
        self.log, self._unit = root / f"{name}.log", None
        _ip("netns", "add", self.place)
        _ip("-n", self.place, "link", "set", "lo", "up")
        if name == LINK:
            inner = _SWITCH
            _ip("-n", self.place, "link", "add", _SWITCH, "type", "bridge")
        else:
            inner = "eth0"
            _ip("-n", self.place, "link", "add", inner, "type", "veth", "peer", "name", self.place, "netns", "docs-1")
            _ip("-n", "docs-1", "link", "set", self.place, "master", _SWITCH, "up")
        _ip("-n", self.place, "address", "add", f"{self.address}/24", "dev", inner)
        _ip("-n", self.place, "link", "set", inner, "up")
        base, folder = Path(sys.base_prefix), root / name
        folder.mkdir()
        closed = next((str(p) for p in reversed(base.parents) if not p.stat().st_mode & 0o001), "")
        words = [folder, base, closed, data]
        words = ["ip", "netns", "exec", self.place, "unshare", "-m", "bash", "-ec", _MACHINE, "-", *map(str, words)]
        self._holder = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert self._holder.stdout.readline() == "ready\n"
        for path, content in (("/opt/medimg/.venv/bin/medimg", _MEDIMG), ("/opt/bin/sudo", _SUDO)):
            self.write(path, content)
            self.run(f"chmod 755 {path}")
        self.run(f"echo {NETWORK}.1 link.example.org >> /etc/hosts")

    def words(self, script: str) -> list[str]:
        """Of a command that runs a script of root's on the machine."""
        inside = ["nsenter", "-t", str(self._holder.pid), "-m", "-n", "env", "-i", "LANG=C.UTF-8", "HOME=/root"]
        # -l would read profiles of the machine that all are on.
        return [*inside, f"PATH=/opt/bin:{os.environ['PATH']}", "bash", "-ec", script]

    def run(self, script: str, stdin: str = "") -> str:
        """What it printed.

        Raises:
            RuntimeError: it failed.
        """
        process = subprocess.run(self.words(script), input=stdin, capture_output=True, text=True, check=False)
        if process.returncode:
            raise RuntimeError(f"{self.name}: {script}\n{process.stdout}{process.stderr}\n{self.said()}")
        return process.stdout

    def enable(self, unit: str) -> None:
        """`systemctl enable --now` of a unit's text."""
        path = f"/etc/systemd/system/medimg-{'link' if self.name == LINK else 'site'}.service"
        self.write(path, unit)
        self.run(f"systemd-analyze verify {path}")
        self._unit = dict(re.findall(r"^(\w+)=(.*)$", unit.replace("\\\n", " "), re.MULTILINE))
        self._start()

    def restart(self) -> None:
        """`systemctl restart`."""
        self.stop()
        self._start()

    def stop(self) -> None:
        """`systemctl stop`."""
        self._process.terminate()
        self._process.wait()

    def write(self, path: str, content: str) -> None:
        """A file on the machine."""
        self.run(f"mkdir -p {Path(path).parent}; cat > {path}", content)

    def said(self) -> str:
        """What `journalctl` has, of now."""
        return self.log.read_text() if self.log.is_file() else ""

    def until(self, words: str, more: int = 1) -> str:
        """Its last line with these words, once they are there so often."""
        end = time.monotonic() + _PATIENCE
        while len(lines := [line for line in self.said().splitlines() if words in line]) < more:
            if time.monotonic() > end:
                raise RuntimeError(f"{self.name} never said '{words}':\n{self.said()}")
            time.sleep(0.2)
        return lines[-1]

    def close(self) -> None:
        """End all that runs on it."""
        if self._unit:
            self.stop()
        self._holder.kill()
        self._holder.wait()
        subprocess.run(["ip", "netns", "del", self.place], check=False, stderr=subprocess.DEVNULL)

    def _start(self) -> None:
        unit = self._unit
        script = (
            f"cd {unit['WorkingDirectory']}; exec setpriv --reuid {unit['User']} --regid {unit['User']} --init-groups "
        )
        with self.log.open("a") as log:
            self._process = subprocess.Popen(self.words(script + unit["ExecStart"]), stdout=log, stderr=log)


def _ip(*words) -> None:
    subprocess.run(["ip", *map(str, words)], check=True)
