"""dossier(): one signed folder for a data-access committee: what left which site and when, privacy, results.

`SHA256SUMS` lists the folder's files; `SHA256SUMS.sig` is its Ed25519 signature by the coordinator's key, whose public
half is in `dossier.json` and at every site. Nothing is computed anew: each statement is of the Run's files or of a
site's own log.
"""

import re
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from federated.audit_log import verify
from federated.audit_log.chain import Entry, links
from federated.audit_log.files import digest_of
from federated.audit_log.head import read_head
from federated.flower import keys
from federated.report.reading import read_federation, read_tables
from federated.report.words import NO_PRIVACY, apart, course, limits, promise, shared
from medimg import atomic
from medimg.errors import InputError
from medimg.lock import content, require_other, writes
from medimg.style.words import bytes_text, epsilon_text, interval
from medimg.untrusted.inside import require_own_files
from medimg.untrusted.printable import printable

DIGESTS, SIGNATURE = "SHA256SUMS", "SHA256SUMS.sig"
_COPIED = (
    "federation.json",
    "federation.html",
    "privacy.json",
    "rounds.csv",
    "partition.csv",
    "model.json",
    "environment.json",
    "metrics.json",
    "audit.json",
    "audit.jsonl",
    "audit_head.json",
)
_WRITTEN = ("dossier.json", "dossier.md", DIGESTS, SIGNATURE)
_UNFINISHED = ".unfinished"  # a file that is there until all others are
_MODEL = "model.keras"
_SITE_LOG = "site-{}.jsonl"
_LONGEST = 100


@writes("out")
def dossier(run: Path, out: Path, key: Path | None = None, site_logs: Sequence[Path] = ()) -> Path:
    """Write the folder.

    Args:
        run: a federated Run that has ended.
        out: an empty or new folder.
        key: the coordinator's secret key file; None: the folder is not signed.
        site_logs: logs that sites keep of their own.

    Returns:
        `dossier.md` in it.

    Raises:
        InputError: no federated Run, or one with links out of it; a folder that holds more than a dossier that was
            broken off; a log that can't be read.
    """
    run, out = Path(run), Path(out)
    require_own_files(run)
    federation, rounds = read_federation(run), read_tables(run).rounds
    secret = None if key is None else keys.load(key)
    head = read_head(run / "audit.jsonl")
    # Of older versions it is not signed.
    signer = secret.identity().public.hex() if secret and head and head.signature else None
    verification = verify(run / "audit.jsonl", public_key=signer, site_logs=site_logs)
    name = next((entry.record.get("run") for entry in _entries(run / "audit.jsonl")), None)
    sites = {}
    for number, log in enumerate(site_logs):
        sites |= _own(log, _SITE_LOG.format(number), name)
    require_other(out)
    _clear(out)
    atomic.write_text(out / _UNFINISHED, "")
    for name in _COPIED:
        if (run / name).is_file():
            atomic.copy(run / name, out / name)
    for number, log in enumerate(site_logs):
        atomic.copy(log, out / _SITE_LOG.format(number))
    summary = {
        "medimg": version("medimg"),
        "model": {"file": _MODEL, "sha256": digest_of(run / _MODEL) if (run / _MODEL).is_file() else None},
        "coordinator": None if secret is None else secret.identity().public.hex(),
        "audit_log": {
            "ok": verification.ok,
            "problems": list(verification.problems),
            "notes": list(verification.notes),
            "head": verification.head,
        },
        "sites": sites,
    }
    atomic.write_json(out / "dossier.json", summary)
    atomic.write_text(out / "dossier.md", _text(federation, rounds, summary, verification))
    _sign(out, secret)
    (out / _UNFINISHED).unlink()
    return out / "dossier.md"


def _clear(out: Path) -> None:
    """Remove what a dossier that was killed has left.

    Raises:
        InputError: there is anything else.
    """
    atomic.sweep(out)
    found = content(out)
    if any(path.name == _UNFINISHED for path in found):
        ours = {*_COPIED, *_WRITTEN}
        for path in found:
            if path.is_file() and (path.name in ours or re.fullmatch(_SITE_LOG.format(r"\d+"), path.name)):
                path.unlink()
        found = [path for path in content(out) if path.name != _UNFINISHED]
    if found:
        raise InputError(f"--out {out}: already holds files; give another folder")


def _entries(log: Path) -> list[Entry]:
    with Path(log).open("rb") as lines:
        return [link.entry for link in links(lines) if link.entry]


def _own(log: Path, copy: str, run: str | None) -> dict[str, dict]:
    """By a site's own log: what it was asked for in this run, by kind, and the policies by which it answered.

    Raises:
        InputError: its records are of another form.
    """
    entries = _entries(log)
    try:
        start = next(entry.record for entry in entries if entry.record.get("event") == "start")
        of_run = [e for e in entries if e.record.get("event") == "message" and e.record.get("run") == run]
        kinds: dict[str, dict] = {}
        for entry in of_run:
            name = printable(entry.record["kind"], _LONGEST)
            if "leaves" in entry.record:
                name += f" ({printable(entry.record['leaves'], _LONGEST)})"
            kind = kinds.setdefault(name, {"answered": 0, "refused": 0, "bytes_out": 0})
            kind["refused" if "refused" in entry.record else "answered"] += 1
            kind["bytes_out"] += int(entry.record["bytes"]["out"])
    except (KeyError, TypeError, ValueError, StopIteration) as error:
        raise InputError(f"--site-log {log}: its records are of another form; it was changed") from error
    # Of older versions the log has the policy with which it began.
    policies = [printable(entry.record.get("policy", start.get("policy")), _LONGEST) for entry in of_run]
    times = [printable(entry.at, _LONGEST) for entry in of_run]
    return {
        printable(start["site"], _LONGEST): {
            "log": copy,
            "policies_sha256": list(dict.fromkeys(policies)),
            "first": min(times, default=None),
            "last": max(times, default=None),
            "messages": kinds,
        }
    }


def _text(federation: dict, rounds, summary: dict, log) -> str:
    privacy = federation["privacy"]
    lines = [
        f"# Dossier of a federated training ({federation['strategy']}, {federation['model']})",
        "",
        course(federation),
        "",
        "## What left the sites",
        *(f"- {sentence}" for sentence in shared(federation, rounds)),
        *(f"- {sentence}" for sentence in federation["secure"]["sentences"]),
        "",
        "## Each site",
        "| site | rounds | bytes sent | bytes received | epsilon | own test part, AUROC |",
        "|---|---|---|---|---|---|",
        *(_row(federation, rounds, client["name"]) for client in federation["clients"]),
        *(f"- {_by_its_log(name, site)}" for name, site in summary["sites"].items()),
        "",
        "## Privacy",
        promise(privacy) if privacy else NO_PRIVACY,
        "",
        "## The record",
        f"The audit log is {'whole' if log.ok else 'CHANGED'}: {log.records} records, head {log.head}.",
        # They quote what is in logs.
        *(f"- problem: {printable(problem, None)}" for problem in log.problems),
        *(f"- {printable(note, None)}" for note in log.notes),
        *(f"- can't be shown: {gap}" for gap in log.cannot_show),
        f"Model file: SHA-256 {summary['model']['sha256']}; made by medimg {summary['medimg']}.",
        f"{DIGESTS} lists these files"
        + (
            f", signed by the coordinator's key {summary['coordinator']}."
            if summary["coordinator"]
            else "; not signed."
        ),
        "",
        "## Limits",
        *(f"- {sentence}" for sentence in limits(federation)),
        *([] if apart(federation) else ["- No site kept a log of its own: all of this is the coordinator's word."]),
    ]
    return "\n".join(lines) + "\n"


def _row(federation: dict, rounds, name: str) -> str:
    rows = rounds[rounds["client"] == name]
    privacy = ((federation["privacy"] or {}).get("sites") or {}).get(name)
    epsilon = "none promised" if privacy is None else epsilon_text(privacy["epsilon"])
    at_site = (federation.get("measured_at_sites") or {}).get(name, {})
    auroc = (at_site.get("metrics") or {}).get("auroc")
    auroc_text = interval(auroc, missing=at_site.get("why", "not measured there"))
    if gain := at_site.get("gain"):
        auroc_text += f"; alone {interval(gain['alone'])}, difference {interval(gain['difference'])}"
    included = int(rows["status"].isin(("ok", "straggler")).sum())
    cells = [
        name,
        included,
        bytes_text(rows["bytes_up"].sum()),
        bytes_text(rows["bytes_down"].sum()),
        epsilon,
        auroc_text,
    ]
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def _by_its_log(name: str, site: dict) -> str:
    kinds = ", ".join(
        f"{kind} {count['answered']}" + (f" ({count['refused']} refused)" if count["refused"] else "")
        for kind, count in site["messages"].items()
    )
    if not kinds:
        return f"{name} by its own log ({site['log']}): no message of this training."
    return (
        f"{name} by its own log ({site['log']}), from {site['first']} to {site['last']}: answered {kinds}; by policy "
        f"files of SHA-256 {', then '.join(site['policies_sha256'])}."
    )


def _sign(out: Path, secret: keys.Keys | None) -> None:
    files = [path for path in content(out) if path.is_file() and path.name != _UNFINISHED]
    listed = "".join(f"{digest_of(path)}  {path.name}\n" for path in files)
    atomic.write_text(out / DIGESTS, listed)
    if secret:
        with atomic.replacing(out / SIGNATURE) as temporary:
            temporary.write_bytes(secret.identity().sign(listed.encode()))
