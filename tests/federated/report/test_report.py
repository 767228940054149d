"""The report of a real, small federation: logistic regression by FedAvg in numpy on made-up hospitals."""

import json
import re
from html import unescape

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from federated.clients.client import Client
from federated.report.attendance import STATES, State, incidents, spans, state, states
from federated.report.client_table import client_lines
from federated.report.participation_figure import participation_figure
from federated.report.partition import write as write_partition
from federated.report.printed import printed
from federated.report.reading import read_tables
from federated.report.report import FIGURES, render, write_report
from federated.report.round_figures import clients_figure, rounds_figure, traffic_figure
from federated.report.site_gain import site_gain
from federated.rounds.participation import attendance
from federated.secure.exposure import who_could_see
from medimg import atomic
from medimg.commands.console import table
from medimg.comparison.candidates import constant
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.evaluation.predictions import Predictions
from tests.federated.ledgers import write_ledger

pytestmark = pytest.mark.final_figures

SIZES = {"Basel": 400, "Graz <West>": 60, "NA": 150, "Oslo": 90}
ROUNDS = 12
BYTES = 4 * 9


def chance(x, w):
    return 1 / (1 + np.exp(-(x @ w[:-1] + w[-1])))


def steps(x, y, w, count, rate=0.5):
    for _ in range(count):
        error = chance(x, w) - y
        w = w - rate * np.append(x.T @ error, error.sum()) / len(y)
    return w


def measured(x, y, w):
    said = chance(x, w)
    return {
        "loss": log_loss(y, said, labels=[0, 1]),
        "accuracy": float(((said > 0.5) == y).mean()),
        "auroc": roc_auc_score(y, said),
    }


def hospitals():
    """name -> part -> (x, y): sites of other sizes, prevalences and shifts of the features."""
    draw = np.random.default_rng(3)
    truth = draw.normal(size=9) * 0.8
    made = {}
    for i, (name, size) in enumerate(SIZES.items()):
        x = draw.normal(size=(2 * size, 8)) + 0.3 * i
        y = (draw.random(2 * size) < chance(x, np.append(truth[:-1], truth[-1] + 0.4 * i))).astype(int)
        cuts = {"train": slice(size), "val": slice(size, size + size // 3)}
        cuts["test"] = slice(size + size // 3, None)
        made[name] = {part: (x[cut], y[cut]) for part, cut in cuts.items()}
    return made


def all_of(sites, part):
    return tuple(np.concatenate(parts) for parts in zip(*(s[part] for s in sites.values()), strict=True))


def validated(x, y, w):
    found = measured(x, y, w)
    return {f"val_{name}": value for name, value in found.items()}


def federated(sites):
    """history, rounds, weights and the histories of centralised and local models."""
    w, history, rounds = np.zeros(9), [], []
    for number in range(1, ROUNDS + 1):
        came = attendance(list(sites), number, 0, dropout=0.15, straggling=0.2)
        updates = {}
        for name in came.selected:
            x, y = sites[name]["train"]
            status = "straggler" if came.work[name] < 1 else "ok"
            status = "dropped" if name in came.dropped else status
            if (name, number) == ("Oslo", 4):
                status = "rejected: update holds NaN"
            if (name, number) == ("Graz <West>", 9):
                status = "lost"
            if status in ("ok", "straggler"):
                updates[name] = (len(y), steps(x, y, w, 1 + int(4 * came.work[name])))
            rounds.append({"round": number, "client": name, "status": status, "examples": len(y)})
        total = sum(n for n, _ in updates.values())
        w = sum(n / total * update for n, update in updates.values())
        for row in rounds[-len(sites) :]:
            here = sites[row["client"]]
            arrived = row["client"] in updates
            own = measured(*here["train"], updates[row["client"]][1]) if arrived else {}
            row.update({name: own.get(name) for name in ("loss", "accuracy")})
            row.update(validated(*here["val"], w))
            row.update(bytes_up=BYTES * arrived, bytes_down=BYTES, seconds=0.02 * number)
        train = measured(*all_of(sites, "train"), w)
        history.append(
            {"round": number, "loss": train["loss"], "accuracy": train["accuracy"]}
            | validated(*all_of(sites, "val"), w)
            | {"participants": len(updates), "bytes_up": BYTES * len(updates), "bytes_down": BYTES * 4}
            | {"seconds": 0.08 * number}
        )
    history = pd.DataFrame(history)
    best = history["val_loss"].idxmin()
    return history.assign(best=history.index == best), pd.DataFrame(rounds), w


def alone(train, val):
    w, found = np.zeros(9), []
    for number in range(1, ROUNDS + 1):
        w = steps(*train, w, 5)
        found.append({"round": number, **validated(*val, w)})
    return w, found


def gain_of(sites, weights):
    """site_gain of model -> site -> weights."""
    names = np.repeat(list(sites), [len(s["test"][1]) for s in sites.values()])
    y = all_of(sites, "test")[1]

    def predictions(of):
        said = np.concatenate([chance(s["test"][0], of[name]) for name, s in sites.items()])
        return Predictions("binary", ("healthy", "ill"), y, np.stack([1 - said, said], axis=1), 0.5)

    models = {name: predictions(of) for name, of in weights.items()}
    models = {"majority": constant(models["federated"]).members[0], **models}
    return site_gain(models, names, [f"p{i}" for i in range(len(names))], resamples=200)


def clients_of(sites, root):
    rows = [
        (f"{name}-{part}-{i}.png", ("healthy", "ill")[label], f"{name}-{part}-{i}", name, part)
        for name, parts in sites.items()
        for part, (_, labels) in parts.items()
        for i, label in enumerate(labels)
    ]
    manifest = pd.DataFrame(rows, columns=["image", "label", "patient", "site", "split"])
    return [Client(n, Dataset(root, "made", "binary", ("healthy", "ill"), own)) for n, own in manifest.groupby("site")]


def federation_of(sites, rounds, history, gain, baselines, privacy):
    return {
        "strategy": "fedavg",
        "model": "logistic",
        "task": "binary",
        "classes": ["healthy", "ill"],
        "partition": "site",
        "rounds": ROUNDS,
        "best_round": int(history.loc[history["best"], "round"].iloc[0]),
        "stopped": f"all {ROUNDS} rounds were made",
        "local": "5 steps on all rows, sgd 0.5",
        "aggregation": "mean by examples",
        "secure": {"kind": "masking", "threshold": 3, "sentences": who_could_see("masking")},
        "clients": [
            {"name": name, "examples": len(s["train"][1]), "patients": 2 * size, "notes": []}
            for (name, s), size in zip(sites.items(), SIZES.values(), strict=True)
        ],
        "privacy": privacy | {"sentences": ["A patient who is at two sites spends both sites' epsilons."]},
        "bytes": {"up": int(rounds["bytes_up"].sum()), "down": int(rounds["bytes_down"].sum())},
        "seconds": {"rounds": float(history["seconds"].sum()), "round": 0.52, "first": 0.08},
        "statistics": ["Count, mean and variance of each column, summed over the sites."],
        "comparison": {
            "models": {
                "majority": "Always the commonest answer of the test rows.",
                "local": "Each site alone, as many steps as in the federation.",
                "federated": "The kept model of this Run.",
                "centralised": "All training rows in one place, as many steps.",
            },
            "left_out": {"personalised": "--personalise was not given"},
            "gain": gain,
        },
        "baseline_histories": baselines,
        "audit": {"head": "ab" * 32, "records": ROUNDS + 2},
        "notes": ["Graz <West> has fewer than 10 patients of a class in val"],
    }


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """A Run folder as the round loop leaves it, and the content of its federation.json."""
    root = tmp_path_factory.mktemp("federated") / "run"
    sites = hospitals()
    history, rounds, w = federated(sites)
    centre, centre_history = alone(all_of(sites, "train"), all_of(sites, "val"))
    own = {name: alone(s["train"], s["val"]) for name, s in sites.items()}
    weights = {
        "local": {name: found[0] for name, found in own.items()},
        "federated": dict.fromkeys(sites, w),
        "centralised": dict.fromkeys(sites, centre),
    }
    baselines = {"centralised": centre_history, "local": {name: found[1] for name, found in own.items()}}
    federation = federation_of(
        sites, rounds, history, gain_of(sites, weights), baselines, write_ledger(root, list(sites))
    )
    atomic.write_csv(root / "history.csv", history)
    atomic.write_csv(root / "rounds.csv", rounds)
    atomic.write_json(root / "federation.json", federation)
    write_partition(clients_of(sites, root), root)
    write_report(root)
    return root, json.loads((root / "federation.json").read_text())


def text_of(page):
    without = re.sub(r"<[^>]+>", " ", re.sub(r"(?s)<style>.*?</style>", "", page))
    return " ".join(unescape(without).split())


@pytest.mark.slow
def test_the_page_stands_alone_and_has_every_figure(case):
    root, _ = case
    page = (root / "federation.html").read_text(encoding="utf-8")
    sources = re.findall(r'(?:src|href)="([^"]{0,30})', page)
    assert len(sources) == len(FIGURES) + 1
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert "http" not in text_of(page)
    for name in (*FIGURES, "partition"):
        assert (root / "figures" / f"{name}.png").stat().st_size > 5_000


def test_the_page_says_what_was_found_shared_seen_and_promised(case):
    root, federation = case
    page = render(root, federation)
    assert "<West>" not in page
    assert "Graz &lt;West&gt;" in page
    text = text_of(page)
    gain = federation["comparison"]["gain"]
    for sentence in (
        *gain["sentences"],
        *federation["statistics"],
        *federation["privacy"]["sentences"],
        *federation["notes"],
    ):
        assert sentence in text
    order = ["Does my site gain?", "What was shared?", "Who could see", "What privacy", "Limits"]
    places = [text.index(heading) for heading in order]
    assert places == sorted(places)
    found = gain["places"][0]["values"]["federated"]
    assert f"{found['value']:.3f} {found['low']:.3f}–{found['high']:.3f}" in text
    total = federation["privacy"]["total"]["epsilon"]["pld"]
    assert f"epsilon {total:.3g} at delta 0.0001" in text
    assert "with fewer than 3 clients a round gives no sum" in text
    assert "Oslo: update rejected (update holds NaN) in round 4" in text
    assert f"{BYTES} B to a client and {BYTES} B from it" in text
    assert "one process on one machine" in text
    assert "not a medical device" in text
    assert "ab" * 32 in text
    assert "Not compared: personalised (--personalise was not given)." in text


def test_without_comparison_privacy_or_secure_sum_the_page_says_so(case):
    root, federation = case
    bare = {
        **federation,
        "privacy": None,
        "secure": {"kind": "none", "threshold": None, "sentences": who_could_see("none")},
        "partition": "dirichlet, alpha 0.5",
        "comparison": {"models": {}, "left_out": {"local": "--compare none"}, "gain": None},
        "statistics": [],
        "baseline_histories": None,
        "best_round": None,
        "engine": "flower",
    }
    text = text_of(render(root, bare))
    assert "can't tell" in text
    assert "local (--compare none)" in text
    assert "No statistics shared before the first round are on record" in text
    assert "in the clear" in text
    assert "None was promised" in text
    assert "parts of one data set (dirichlet, alpha 0.5)" in text
    assert "answered signed messages by their own code" in text
    assert "one process on one machine" not in text
    assert "of the last round was kept" in text
    assert "star marks" not in text
    assert [title for title, _, _ in printed(bare)] == ["4 clients", "fedavg, mean by examples"]


def test_a_report_replaces_the_figures_of_an_earlier_one(case, tmp_path):
    root, federation = case
    for name in ("history.csv", "rounds.csv", "partition.csv", "privacy.json"):
        (tmp_path / name).write_bytes((root / name).read_bytes())
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "site_gain.png").write_bytes(b"old")
    comparison = {**federation["comparison"], "gain": None}
    atomic.write_json(tmp_path / "federation.json", {**federation, "comparison": comparison})
    write_report(tmp_path)
    assert not (tmp_path / "figures" / "site_gain.png").exists()
    assert (tmp_path / "figures" / "rounds.png").exists()


def test_lines_of_clients_are_sums_over_their_rounds(case):
    root, federation = case
    rounds = read_tables(root).rounds
    for line in client_lines(federation, rounds):
        rows = [row for _, row in rounds.iterrows() if row["client"] == line.name]
        took = [row for row in rows if row["status"] in ("ok", "straggler")]
        assert (line.asked, line.took_part) == (ROUNDS, len(took))
        assert line.last_round == took[-1]["round"]
        assert line.measured["val_auroc"] == pytest.approx(took[-1]["val_auroc"])
        assert line.left == ("" if took[-1] is rows[-1] else rows[-1]["status"])
        assert line.bytes_up == BYTES * len(took)
        assert line.seconds == pytest.approx(0.02 * ROUNDS * (ROUNDS + 1) / 2)
    never = {**federation, "clients": [{"name": "Rome", "examples": 3, "patients": 2}]}
    line = client_lines(never, rounds)[0]
    assert (line.asked, line.last_round, line.left) == (0, None, "never asked")
    assert line.measured["loss"] is None
    assert "Rome" in render(root, never)


def grid(*rows):
    return pd.DataFrame(rows, columns=["round", "client", "status"])


def test_states_in_closed_form():
    rounds = grid((1, "a", "ok"), (1, "b", "dropped"), (3, "a", "rejected: too long"), (3, "b", "lost"))
    found = states(rounds, ["b", "a", "c"], range(1, 4))
    names = [[STATES[i] for i in row] for row in found]
    none = State.NOT_ASKED
    assert names == [[State.DROPPED, none, State.LOST], [State.TOOK_PART, none, State.REJECTED], [none, none, none]]
    assert state("straggler") is State.SLOW
    assert state("unused: 2 of 3 clients") is State.UNUSED
    with pytest.raises(ValueError, match="status 'asleep' is none of ok"):
        state("asleep")


def test_incidents_name_rounds_and_reasons():
    rounds = grid(
        *((i, "a", "rejected: too long") for i in (1, 2, 3, 7)),
        (4, "a", "rejected: not finite"),
        (5, "a", "dropped"),
        (6, "a", "ok"),
        (1, "b", "straggler"),
    )
    assert incidents(rounds) == [
        "a: update rejected (not finite) in round 4",
        "a: update rejected (too long) in rounds 1 to 3, 7",
        "1 of 8 times a client that was asked dropped out",
    ]
    many = grid(*((1, f"c{i:02d}", "lost") for i in range(20)))
    assert len(incidents(many)) == 13
    assert incidents(many)[-1].startswith("and 8 more")
    assert spans([5, 1, 2, 9, 8, 7]) == "1, 2, 5, 7 to 9"


def test_curves_are_the_histories(case):
    root, federation = case
    history, baselines = read_tables(root).history, federation["baseline_histories"]
    figure = rounds_figure(history, baselines, federation["best_round"])
    titles = {axes.get_title(): axes for axes in figure.axes}
    lines = titles["AUROC, validation"].lines
    assert len(lines) == len(SIZES) + 3
    by_label = {line.get_label(): line for line in lines}
    assert by_label["federated"].get_ydata().tolist() == history["val_auroc"].tolist()
    expected = [row["val_auroc"] for row in baselines["centralised"]]
    assert by_label["centralised"].get_ydata().tolist() == expected
    assert by_label["centralised"].get_linestyle() == "--"
    local = [line for line in lines if line.get_label().startswith("local")]
    assert {tuple(line.get_ydata()) for line in local} == {
        tuple(row["val_auroc"] for row in rows) for rows in baselines["local"].values()
    }
    assert all(line.get_linewidth() < by_label["federated"].get_linewidth() for line in local)
    assert by_label["kept model"].get_xdata().tolist() == [federation["best_round"]]
    labels = {line.get_label() for line in titles["loss, validation"].lines}
    assert "federated, training" in labels
    one = rounds_figure(history.iloc[:1], {"centralised": baselines["centralised"][:1]}, 1)
    ticks = [tick for tick in one.axes[0].get_xticks() if abs(tick - 1) < 0.5]
    assert ticks == [1]
    assert {line.get_marker() for line in one.axes[0].lines} == {"o", "*"}
    nothing = history.assign(val_auroc=np.nan, val_accuracy=np.nan, val_loss=np.nan)
    assert rounds_figure(nothing, {}) is None


def test_traffic_adds_up(case):
    history = read_tables(case[0]).history
    left, right = traffic_figure(history).axes
    up, down = (line.get_ydata()[-1] for line in left.lines)
    assert left.get_title().endswith("kB")
    assert [down * 1000, up * 1000] == pytest.approx([BYTES * 4 * ROUNDS, history["bytes_up"].sum()])
    assert right.lines[0].get_ydata()[-1] == pytest.approx(0.08 * ROUNDS * (ROUNDS + 1) / 2)


def test_figures_of_many_clients_and_of_none():
    names = [f"hospital {i}" for i in range(60)]
    rounds = grid(*((r, name, "ok") for r in range(50) for name in names[r % 7 :: 7]))
    figure = participation_figure(rounds, names)
    assert figure.axes[0].get_title() == "the first 40 of 60 clients"
    counts = [text.get_text() for text in figure.axes[0].texts]
    assert counts[:2] == ["8 of 50", "7 of 50"]
    assert participation_figure(rounds.iloc[:0], names) is None
    assert clients_figure(rounds, names, {}) is None
    scored = rounds.assign(val_auroc=np.nan, val_loss=0.5)
    figure = clients_figure(scored, names, {"hospital 1": [{"round": 1, "val_loss": 0.4}]})
    assert sum(axes.get_visible() for axes in figure.axes) == 16


def test_the_command_line_gets_values_words_and_costs(case, capsys):
    _, federation = case
    tables = printed(federation)
    for title, columns, rows in tables:
        assert all(len(row) == len(columns) for row in rows), title
        table(title, columns, rows)
    gain = federation["comparison"]["gain"]
    place = gain["places"][0]
    found = place["values"]["local"]
    shown = f"{found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"
    line = next(text for text in capsys.readouterr().out.splitlines() if shown in text)
    # A row that wraps can't be read in a log.
    assert place["name"] in line
    assert place["word"] in line
    privacy = federation["privacy"]
    assert dict(tables[-1][2])["epsilon"] == f"{privacy['total']['epsilon']['pld']:.3g} at delta 0.0001, one patient"
    each = [f"{site['epsilon']['pld']:.3g}" for site in privacy["sites"].values()]
    assert [row[-1] for row in tables[2][2]] == each
    assert len(set(each)) == 4


def test_what_is_missing_or_broken_is_named(case, tmp_path):
    root, federation = case
    with pytest.raises(InputError, match=r"federation\.json: missing"):
        write_report(tmp_path)
    (tmp_path / "federation.json").write_text("{")
    with pytest.raises(InputError, match=r"federation\.json: not readable as JSON"):
        write_report(tmp_path)
    (tmp_path / "history.csv").write_text("round,loss\n1,2\n")
    with pytest.raises(InputError, match=r"history\.csv: column participants, bytes_up"):
        render(tmp_path, federation)
    (tmp_path / "history.csv").write_text("")
    with pytest.raises(InputError, match=r"history\.csv: not readable as CSV"):
        render(tmp_path, federation)
    assert read_tables(root).rounds["client"].eq("NA").sum() == ROUNDS
