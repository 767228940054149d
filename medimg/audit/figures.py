"""Figures of an audit: ROC curves of the attacks on log axes, and losses of members and non-members."""

import numpy as np
from matplotlib.figure import Figure

from medimg.audit.attacked import Attacked
from medimg.audit.roc import Ranking
from medimg.style.figures import BLACK, BLUE, GREY, VERMILION, line_style, styled


def roc_figure(attacked: Attacked, twin: Attacked | None, attacks: dict) -> Figure:
    """TPR against FPR of every attack, both logarithmic, below what the claimed epsilon allows.

    Args:
        attacked: the Run.
        twin: its twin, or None; its curves are dotted.
        attacks: of audit.json.
    """
    member = attacked.subject.member
    least = 0.5 / max((~member).sum(), member.sum())
    grid = np.logspace(np.log10(least), 0, 300)
    with styled():
        figure = Figure(figsize=(8.6, 5.2))
        axes = figure.subplots()
        claim = attacked.claim
        if claim is not None and np.isfinite(claim.epsilon):
            most = claim.most_tpr(grid)
            label = f"most that epsilon {claim.epsilon:.3g} allows"
            axes.plot(grid, most, color=BLACK, linewidth=1.4, label=label)
            axes.fill_between(grid, most, 1.0, color=GREY, alpha=0.12, linewidth=0)
        axes.plot(grid, grid, color=GREY, linestyle=":", linewidth=1.2, label="chance")
        for number, (name, scores) in enumerate(attacked.scores.items()):
            style = line_style(number)
            label = f"{name}  AUC {attacks[name]['auc']['value']:.3f}"
            _curve(axes, scores.values, member, least, label=label, **style)
            if twin is not None:
                dotted = style | {"linestyle": (0, (1, 1.2)), "alpha": 0.75}
                label = "dotted: the twin" if number == len(attacked.scores) - 1 else None
                _curve(axes, twin.scores[name].values, member, least, label=label, **dotted)
        axes.set(
            xscale="log",
            yscale="log",
            xlim=(least, 1.05),
            ylim=(least, 1.15),
            xlabel=f"false alarms: share of {int((~member).sum())} non-members called members",
            ylabel=f"share of {int(member.sum())} members found",
            title="Who was in the training part?",
        )
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(lambda value, _: f"{value:.3g}")
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure


def _curve(axes, scores: np.ndarray, member: np.ndarray, least: float, **style) -> None:
    fpr, tpr = Ranking(scores).rates(1.0 * member[None], 1.0 * ~member[None])
    # No false alarm at all has no place on a logarithmic axis: it is drawn at its left edge.
    axes.plot(np.maximum(fpr[0], least), np.maximum(tpr[0], least), drawstyle="steps-post", **style)


def loss_figure(attacked: Attacked, twin: Attacked | None) -> Figure:
    """Histograms of members' and non-members' confidence in the label; the loss falls with it.

    Args:
        attacked: the Run.
        twin: its twin, or None.
    """
    shown = [("this Run", attacked)] + ([("the twin", twin)] if twin else [])
    with styled():
        figure = Figure(figsize=(5.6 * len(shown), 4.2))
        panels = np.atleast_1d(figure.subplots(1, len(shown)))
        for panel, (title, one) in zip(panels, shown, strict=True):
            _losses(panel, one)
            panel.set(xlabel="confidence in the label, ln(p / (1 − p))", title=title)
        panels[0].set_ylabel("share of rows")
    return figure


def _losses(panel, one: Attacked) -> None:
    # Each on its own scale: a private model's answers all lie within one bar of another's.
    low, high = np.quantile(one.signals.confidence, [0.002, 0.998])
    edges = np.linspace(low - 1e-6, high + 1e-6, 41)
    member = one.subject.member
    others = "held out" if one.subject.held_out else "test"
    for kind, name, colour in ((member, "members (train)", VERMILION), (~member, f"non-members ({others})", BLUE)):
        # What lies outside is counted in the outermost bar.
        values = np.clip(one.signals.confidence[kind], edges[0], edges[-1])
        bars = {"x": values, "bins": edges, "weights": np.full(len(values), 1 / len(values))}
        panel.hist(**bars, histtype="stepfilled", color=colour, alpha=0.35, linewidth=0)
        label = f"{name}: median loss {np.median(one.signals.loss[kind]):.3g}"
        panel.hist(**bars, histtype="step", color=colour, linewidth=1.6, label=label)
    # Room above the bars for two lines of legend.
    panel.set_ylim(0, panel.get_ylim()[1] * 1.3)
    panel.legend(loc="upper left")
