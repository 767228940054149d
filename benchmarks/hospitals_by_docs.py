"""docs/federation-sites.md, done as it says: a link and two hospitals, each a machine of its own, then the renewals.

Commands, units and the policy are taken from the page itself and carried out in its order; only what the page leaves
to its reader is chosen here: addresses and data. Each machine (`machines`) has a user medimg of its own. There is no
systemd in it: units are read (`systemd-analyze verify` takes them) and their ExecStart is started by their User in
their WorkingDirectory, and started anew as `systemctl restart` would. Every machine has a ufw that holds back whatever
comes, and at the hospitals what goes out too, until the page's lines are said.

Root alone, with iproute2 and ufw: `sudo .venv/bin/python -m benchmarks.hospitals_by_docs`.
"""

import re
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from benchmarks.heart import DATA
from benchmarks.machines import LINK, REPOSITORY, Machine
from benchmarks.material import table

PAGE = (REPOSITORY / "docs" / "federation-sites.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```\n(.*?)```", PAGE, re.DOTALL)
HOSPITALS, HOME = ("paris", "rome"), "/var/lib/medimg"


def block(having: str) -> str:
    """The page's one block with these words."""
    (only,) = [text for text in BLOCKS if having in text]
    return only


def handed(giver: Machine, path: str, taker: Machine, to: str = "") -> None:
    """A file goes from one to another, by hand, and is the user medimg's there."""
    target = f"{HOME}/{to or Path(path).name}"
    taker.write(target, giver.run(f"cat {HOME}/{path}"))
    taker.run(f"chown medimg: {target}")


def connected(site: Machine) -> int:
    return site.said().count("connected to link.example.org:9092")


def listening(machine: Machine) -> str:
    """Addresses and ports at which others could connect to it."""
    lines = machine.run("ss -Hltn").splitlines()
    open_to_others = {
        line.split()[3] for line in lines if not line.split()[3].startswith(("127.", "[::1]", "[::ffff:127."))
    }
    return ", ".join(sorted(open_to_others)) or "none"


def reached(machine: Machine, port: int = 9092) -> bool:
    """Whether TCP leads from it to a port of the link's machine."""
    probe = f"timeout 3 bash -c '< /dev/tcp/link.example.org/{port}' 2> /dev/null && echo yes || echo no"
    return machine.run(probe).strip() == "yes"


def opened(link: Machine, sites: list[Machine]) -> str:
    """The page's lines for a firewall, one after the other; who reaches the link after each."""
    steps = [f"{sum(map(reached, sites))} of {len(sites)} before"]
    for site in sites:
        link.run(block("ufw allow proto").replace("192.0.2.10", site.address))
    steps.append(f"{sum(map(reached, sites))} with the link's lines")
    for number, site in enumerate(sites, 1):
        site.run(block("ufw allow out").replace("192.0.2.1", link.address))
        steps.append(f"{sum(map(reached, sites))} with {number} of the sites'")
    steps.append(f"{sum(reached(site, port) for site in sites for port in (9091, 9093))} reach its neighbours")
    return ", ".join(steps)


def walk(machines: dict[str, Machine]):
    """The page's steps; yields what each came to."""
    link, sites = machines[LINK], [machines[name] for name in HOSPITALS]
    for machine in machines.values():
        outwards = "allow" if machine is link else "deny"
        machine.run(f"ufw default deny incoming; ufw default {outwards} outgoing; ufw --force enable")
        machine.run(block("useradd"))
    yield "user and folder", machines["paris"].run(f"stat -c '%U %a' {HOME}").strip()
    for site in sites:
        site.run(f"cd {HOME}\n" + block("federate key paris\n").replace("paris", site.name))
        for receiver in (link, *(peer for peer in sites if peer is not site)):
            handed(site, f"{site.name}.pub", receiver)
    link.enable(block("federate link --out link"))
    ready_line = link.until("sites need")
    yield "link", ready_line.replace(f"{HOME}/", "")
    yield "ufw", opened(link, sites)
    unit = block("federate site --data /srv/heart")
    policy = block("sites: [paris.pub, rome.pub]\n")
    link.until("lasts until")
    for site in sites:
        for file in ("ca.pem", "coordinator.pub"):
            handed(link, f"link/{file}", site)
        site.write(f"{HOME}/policy.yaml", policy)
        site.run("chown -R medimg: /srv/heart")
        lines = site.run(f"cd {HOME}; sudo -u medimg /opt/medimg/.venv/bin/medimg federate policy check policy.yaml")
        site.enable(unit.replace("paris", site.name))
    yield "policy check", f"{len(lines.splitlines())} sentences"
    for site in sites:
        site.until("connected to link.example.org:9092")
    yield "sites", "both say 'connected to link.example.org:9092'"
    yield "open to others at the link", listening(link)
    yield "open to others at a site", listening(sites[0])
    yield "training", train(link, "run", sites)
    link.run(f"rm {HOME}/link/link.pem")
    link.restart()
    yield "the link's certificate anew, sites untouched", train(link, "renewed", sites)
    paris, rome = sites
    paris.run(f"cd {HOME}; sudo -u medimg /opt/medimg/.venv/bin/medimg federate key paris --out new")
    link.run(f"rm {HOME}/link/sites/paris.pub")
    for receiver in (link, rome):
        handed(paris, "new/paris.pub", receiver, "paris.pub")
    refusals = paris.said().count("refused this node")
    link.restart()
    yield "a site's old key", paris.until("refused this node", refusals + 1).split("link lost (")[-1][:110]
    paris.run(f"cd {HOME}; sudo -u medimg mv new/paris.key new/paris.pub .")
    connections = [connected(site) for site in sites]
    for site, times in zip(sites, connections, strict=True):
        site.restart()
        site.until("connected to link.example.org:9092", times + 1)
    yield "its new key", train(link, "again", sites)


def train(link: Machine, out: str, sites: list[Machine]) -> str:
    """The page's own command."""
    command = block("sudo -u medimg /opt/medimg/.venv/bin/medimg federate DATA")
    command = command.replace("DATA", "/srv/heart").replace("--out run", f"--rounds 3 --no-comparison --out {out}")
    link.run(f"cd {HOME}\n{command}")
    for site in sites:
        # The page: logs of the sites and of the coordinator are held against each other.
        handed(site, "state/audit.jsonl", link, f"{site.name}/audit.jsonl")
    verify = block("federate verify RUN").replace("RUN", out).replace("medimg ", "/opt/medimg/.venv/bin/medimg ", 1)
    report = " ".join(link.run(f"cd {HOME}; {verify}").split())
    return report[-110:]


def main() -> None:
    from federated.config import FederateConfig
    from federated.flower import rehearse
    from federated.partition import partition
    from medimg.config import PrepareConfig
    from medimg.preparation.prepare import prepare

    lines, machines = [], {}
    with tempfile.TemporaryDirectory(prefix="medimg-docs-") as folder:
        root = Path(folder)
        root.chmod(0o755)
        dataset = prepare("heart", DATA / "heart_disease", root / "all", PrepareConfig())
        clients = {client.name: client.dataset for client in partition(dataset, FederateConfig())}
        of = dict(zip(HOSPITALS, ("cleveland", "hungarian"), strict=True))
        held_out = dataset.manifest[dataset.manifest["split"].isin(["val", "test"])]
        parts = {LINK: replace(dataset, manifest=held_out), **{name: clients[site] for name, site in of.items()}}
        try:
            for number, (name, part) in enumerate(parts.items(), 1):
                rehearse._copy(part, replace(part, root=root / f"data-{name}"))
                machines[name] = Machine(number, name, root / f"data-{name}", root)
            for step, result in walk(machines):
                lines.append([step, result])
                print(lines[-1], file=sys.stderr, flush=True)
        finally:
            for machine in reversed(machines.values()):
                machine.close()
    table(["step of the page", "came to"], lines)


if __name__ == "__main__":
    main()
