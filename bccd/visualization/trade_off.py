"""Accuracy against time, drawn."""

from collections.abc import Iterable, Sequence

from matplotlib.figure import Figure

from bccd.visualization.style import label_axes, new_figure

_MARKERS = "os^"


def trade_off_figure(variants: Sequence[dict], title: str) -> Figure:
    """AP over milliseconds, one point for each variant, the best ones joined.

    Args:
        variants: of ``bccd.benchmark.trade_off.measure_trade_off``.
        title: above the axes.
    """
    figure, axes = new_figure(4.2, width=6.4)
    axis = axes[0, 0]
    best = pareto_front(variants)
    axis.plot([v["ms"]["median"] for v in best], [v["AP"] for v in best], color="0.7", zorder=1)
    for variant in variants:
        milliseconds, (low, high) = variant["ms"]["median"], variant["ms"]["quartiles"]
        spread = [[milliseconds - low], [high - milliseconds]]
        color = "black" if variant in best else "0.6"
        axis.errorbar(milliseconds, variant["AP"], xerr=spread, fmt="o", ms=4, color=color, lw=0.8)
        # The best are close together: every other one has its label on the other side.
        above = variant in best[1::2]
        axis.annotate(
            ", ".join(variant["options"].values()),
            (milliseconds, variant["AP"]),
            xytext=(-4, 5) if above else (4, -9),
            ha="right" if above else "left",
            textcoords="offset points",
            fontsize=7,
            color=color,
        )
    keys = ", ".join(key.rsplit(".", 1)[-1] for key in variants[0]["options"])
    label_axes(axis, "milliseconds an image, model alone", "AP (%)", f"{title}\n{keys}")
    axis.margins(x=0.12)
    return figure


def systems_figure(systems: Sequence[dict], title: str) -> Figure:
    """AP over milliseconds of several detectors, each in every form that detects the same.

    Args:
        systems: each with ``name``, ``AP``, its 95% ``interval``, and ``milliseconds``: {form:
            time}, the same forms for all.
        title: above the axes.
    """
    figure, axes = new_figure(3.8)
    axis = axes[0, 0]
    forms = list(systems[0]["milliseconds"])
    for number, system in enumerate(systems):
        times = [system["milliseconds"][form] for form in forms]
        color = f"C{number}"
        axis.plot(times, [system["AP"]] * len(times), color=color, lw=1, label=system["name"])
        low, high = system["interval"]
        spread = [[system["AP"] - low], [high - system["AP"]]]
        axis.errorbar(min(times), system["AP"], yerr=spread, color=color, lw=0.8, capsize=2)
        for time, marker in zip(times, _MARKERS, strict=False):
            axis.plot(time, system["AP"], marker, color=color, ms=5)
    for form, marker in zip(forms, _MARKERS, strict=False):
        axis.plot([], [], marker, color="0.4", ms=5, label=form)
    axis.set_xlim(left=0)
    axis.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    label_axes(axis, "milliseconds an image", "AP (%), 95% interval", title)
    return figure


def pareto_front(variants: Iterable[dict]) -> list[dict]:
    """Those that no other is both faster and better than, from fast to slow."""
    front = []
    for variant in sorted(variants, key=lambda v: (v["ms"]["median"], -v["AP"])):
        if not front or variant["AP"] > front[-1]["AP"]:
            front.append(variant)
    return front
