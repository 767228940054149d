"""`federation.html`: one file that opens anywhere and tells a hospital whether taking part was worth it."""

from pathlib import Path

from federated.audit_log.head import read_head
from federated.report import words
from federated.report.attendance import incidents
from federated.report.client_table import client_lines
from federated.report.participation_figure import participation_figure
from federated.report.reading import Tables, read_federation, read_tables
from federated.report.round_figures import clients_figure, rounds_figure, traffic_figure
from federated.report.site_gain_figure import site_gain_figure
from medimg import atomic
from medimg.evaluation.metrics import METRIC_NAMES
from medimg.style.figures import save
from medimg.style.pages import inlined, template
from medimg.style.words import bytes_text, epsilon_text, p_text, seconds_text, signed

PAGE = "federation.html"
# Drawn here; partition.png is the partition's own.
FIGURES = ("site_gain", "rounds", "clients", "participation", "traffic")


def write_report(run_root: Path) -> Path:
    """Draw the figures of a federated Run and write `federation.html`.

    Args:
        run_root: folder with `federation.json`, `history.csv`, `rounds.csv` and `partition.csv`.

    Returns:
        The page.

    Raises:
        InputError: one of these is missing or unreadable, or the folder can't be written.
    """
    run_root = Path(run_root)
    federation = read_federation(run_root)
    draw(run_root, federation, read_tables(run_root))
    path = run_root / PAGE
    atomic.write_text(path, render(run_root, federation))
    return path


def draw(run_root: Path, federation: dict, tables: Tables) -> dict[str, Path]:
    """Write those of `figures/` NAME.png, NAME of FIGURES, that there is something to draw for.

    Returns:
        Name -> PNG file.
    """
    baselines = federation["baseline_histories"] or {}
    gain = federation["comparison"]["gain"]
    clients = [client["name"] for client in federation["clients"]]
    drawings = {
        "site_gain": None if gain is None else site_gain_figure(gain),
        "rounds": rounds_figure(tables.history, baselines, federation["best_round"]),
        "clients": clients_figure(tables.rounds, clients, baselines.get("local") or {}),
        "participation": participation_figure(tables.rounds, clients),
        "traffic": traffic_figure(tables.history),
    }
    folder = Path(run_root) / "figures"
    # A figure of an earlier report would look like part of this one.
    for name in FIGURES:
        (folder / f"{name}.png").unlink(missing_ok=True)
    return {name: save(drawings[name], folder / f"{name}.png") for name in FIGURES if drawings[name]}


def render(run_root: Path, federation: dict) -> str:
    """The report as HTML without any outside address; it shows the figures that are in the Run's folder.

    Args:
        run_root: the Run's folder.
        federation: content of federation.json.

    Raises:
        InputError: `history.csv`, `rounds.csv` or `partition.csv` is missing or unreadable.
    """
    tables = read_tables(run_root)
    gain = federation["comparison"]["gain"]
    pictures = {name: Path(run_root) / "figures" / f"{name}.png" for name in (*FIGURES, "partition")}
    return template("report", PAGE, "federated").render(
        federation=federation,
        withheld=words.withheld(federation),
        audit=_audit(run_root, federation),
        gain=gain,
        counted=words.words_counted(gain) if gain and "local" in gain["models"] else None,
        whole=_whole(gain),
        metric=METRIC_NAMES[gain["metric"]] if gain else None,
        shared=words.shared(federation, tables.rounds),
        summed=words.summed(federation["secure"]),
        promise=words.promise(federation["privacy"]) if federation["privacy"] else words.NO_PRIVACY,
        course=words.course(federation),
        limits=words.limits(federation),
        incidents=incidents(tables.rounds),
        lines=client_lines(federation, tables.rounds),
        partition=tables.partition.to_dict("records"),
        baselines=federation["baseline_histories"] or {},
        images={name: inlined(path) for name, path in pictures.items() if path.is_file()},
        bytes_text=bytes_text,
        seconds_text=seconds_text,
        epsilon_text=epsilon_text,
        accounting=words.accounting(federation["privacy"]),
        p_text=p_text,
        signed=signed,
    )


def _audit(run_root: Path, federation: dict) -> dict | None:
    """Number of records and hash of the last: of the log's head, since the record that ends it is not in the JSON."""
    head = read_head(Path(run_root) / "audit.jsonl")
    if head is None:
        return federation["audit"]
    return {"records": head.number, "head": head.hash}


def _whole(gain: dict | None) -> dict | None:
    """The place that stands for all sites in the headline: their mean, with a single site its rows."""
    if gain is None:
        return None
    kinds = {place["kind"]: place for place in gain["places"]}
    return kinds.get("mean", kinds["pooled"])
