"""The charts of the playable report, as Vega-Lite specifications; their rows are added in the browser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import altair as alt
import vl_convert

from ..stats.multiplicity import ALPHA

CERTAIN, UNCERTAIN = f"q \N{LESS-THAN OR EQUAL TO} {ALPHA}", f"q > {ALPHA}"
ANY = "any"
FAINT = 0.12  # opacity of cells that the menu of verdicts leaves out
PICKED = "#E69F00"
PICK = "datum.source === picked_source && datum.target === picked_target"
START = alt.Scale(domain=["transfer", "scratch"], range=["#0072B2", "#D55E00"])


@cache
def library() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script that needs nothing else."""
    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;").replace(
        "</script", "<\\/script"
    )


def charts(data: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The specifications for `data.pair_data`: heatmap, curves (of one pair), scatter.

    Each row of heatmap and scatter is a cell: shots, method, source, target, verdict, n, diverged, q; v<k>,
    l<k>, h<k> (value and bounds) of the k-th kind of gain; m<k> of the k-th measure; and the places s<order>
    and t<order> of each order but the mean. Names from data stay out of expressions: they may hold any sign.
    """
    return {"heatmap": _heatmap(data), "curves": _curves(), "scatter": _scatter(data)}


def _menu(
    name: str, label: str, values: Sequence[Any], labels: Sequence[str], menu: bool = True
) -> alt.Parameter:
    """A parameter with the first of the values, and a `menu` where there is something to choose."""
    value = values[0] if values else ""
    if len(values) < 2 or not menu:
        return alt.param(name=name, value=value)
    bind = alt.binding_select(options=list(values), labels=list(labels), name=label)
    return alt.param(name=name, value=value, bind=bind)


def _shared(data: Mapping[str, Any], menus: bool) -> list[alt.Parameter]:
    """What heatmap and scatter both are told: method, kind of gain (by number), shots."""
    kinds, methods, shots = data["kinds"], data["methods"], data["shots"]
    named = [f"{kind['label']} ({kind['unit']})" for kind in kinds]
    given = {f"{key}s": [kind[key] for kind in kinds] for key in ("limit", "scale", "unit")}
    return [
        _menu("method", "Method", methods, methods, menus),
        _menu("kind", "Gain", range(len(kinds)), named, menus),
        _menu("shots", "Shots", shots, shots, menus),
        *(alt.param(name=name, value=values) for name, values in given.items()),
    ]


def _of_cells(chart: Any, params: Sequence[alt.Parameter]) -> Any:
    """The chart, of the cells of the chosen method and shots, with the chosen kind of gain in its unit."""
    return (
        chart.properties(data=alt.NamedData("cells"))
        .add_params(*params)
        .transform_filter("datum.method === method && datum.shots === shots")
        .transform_calculate(
            value=_of_kind("v"),
            low=_of_kind("l"),
            high=_of_kind("h"),
            own="datum.source === datum.target",
        )
    )


def _of_kind(letter: str) -> str:
    field = f"datum['{letter}' + kind]"
    return f"isValid({field}) ? {field} * scales[kind] : null"


def _heatmap(data: Mapping[str, Any]) -> dict[str, Any]:
    listed, *others = [(f"{i}", order["label"]) for i, order in enumerate(data["orders"])]
    clusters = [("cluster", "cluster")] if data["clusters"] else []
    orders = [listed, *clusters, ("mean", "mean gain"), *others]
    verdicts = [ANY, CERTAIN, UNCERTAIN, *data["verdicts"]]
    params = [
        *_shared(data, menus=True),
        _menu("verdict", "Verdict", verdicts, verdicts),
        _menu("order", "Order", [name for name, _ in orders], [label for _, label in orders]),
        *(alt.param(name=name, value="") for name in ("picked_source", "picked_target")),
    ]
    end = "(limits[kind][method] || 1) * scales[kind]"
    ends = {"domainMin": alt.ExprRef(f"-{end}"), "domainMax": alt.ExprRef(end)}
    scale = alt.Scale(scheme="redblue", domainMid=0, clamp=True, **ends)
    legend = alt.Legend(orient="top", direction="horizontal", gradientLength=180, tickCount=5)
    names = alt.Axis(domain=False, ticks=False, labelLimit=150, labelOverlap=False)
    colour = alt.Color("value:Q", title=None, scale=scale, legend=legend)
    places = {
        "x": alt.X("target:N", title="target task", axis=names, sort=_by("across")),
        "y": alt.Y("source:N", title="source task", axis=names, sort=_by("down")),
    }
    cells = alt.Chart().mark_rect(invalid="show", cursor="pointer", stroke="#fff", strokeWidth=0.3)
    cells = cells.encode(
        **places,
        color=alt.condition("isValid(datum.value)", colour, alt.value("#bbb")),
        opacity=alt.condition("datum.shown", alt.value(1), alt.value(FAINT)),
        description=alt.Description("said:N"),
        tooltip=[
            alt.Tooltip("source:N"),
            alt.Tooltip("target:N"),
            alt.Tooltip("told:N", title="gain"),
            alt.Tooltip("interval:N", title="95% interval"),
            *(alt.Tooltip(f"{name}:N") for name in ("q", "n", "verdict")),
            *(alt.Tooltip(f"m{i}:N", title=name) for i, name in enumerate(data["measures"])),
        ],
    )
    # On top of the cells, so that no neighbour hides a part of it.
    edges = alt.Chart().transform_filter("datum.front > 0").mark_rect(filled=False, tooltip=None)
    edges = edges.encode(
        **places,
        stroke=alt.condition("datum.front === 2", alt.value(PICKED), alt.value("#555")),
        strokeWidth=alt.condition("datum.front === 2", alt.value(3), alt.value(1)),
    )
    told = "format(datum.value, '+.2f') + ' ' + units[kind]"
    bounds = "format(datum.low, '+.2f') + ' to ' + format(datum.high, '+.2f')"
    chart = (
        _of_cells(alt.layer(cells, edges), params)
        .transform_calculate(off="datum.own ? null : datum.value")
        .transform_joinaggregate(given="mean(off)", groupby=["source"])
        .transform_joinaggregate(taken="mean(off)", groupby=["target"])
        .transform_calculate(
            down="order === 'mean' ? -datum.given : datum['s' + order]",
            across="order === 'mean' ? -datum.taken : datum['t' + order]",
            told=f"isValid(datum.value) ? {told} : 'unknown'",
            interval=f"isValid(datum.low) ? {bounds} : 'unknown'",
            level=f"!isValid(datum.q) ? '' : datum.q <= {ALPHA} ? '{CERTAIN}' : '{UNCERTAIN}'",
        )
        .transform_calculate(
            said="datum.source + ' to ' + datum.target + ': ' + datum.told",
            shown=f"verdict === '{ANY}' || verdict === datum.verdict || verdict === datum.level",
            front=f"{PICK} ? 2 : datum.own ? 1 : 0",
        )
    )
    return _spec(
        chart, "Heatmap of gains: a row a source task, a column a target task", "container"
    )


def _by(field: str) -> alt.EncodingSortField:
    return alt.EncodingSortField(field=field, op="min", order="ascending")


def _curves() -> dict[str, Any]:
    chart = (
        alt.Chart(alt.NamedData("curves"))
        .mark_line(point=True)
        .encode(
            x=alt.X("step:Q", title="step"),
            y=alt.Y("score:Q", title="score (%)", scale=alt.Scale(zero=False)),
            color=alt.Color("start:N", title=None, scale=START, legend=alt.Legend(orient="top")),
            strokeDash=alt.StrokeDash("start:N", legend=None),
            detail="seed:N",
            tooltip=["start:N", "seed:N", "step:Q", alt.Tooltip("score:Q", format=".2f")],
        )
    )
    return _spec(
        chart, "Learning curves of the pair: from the source's prompt, and from scratch", 300, 200
    )


def _scatter(data: Mapping[str, Any]) -> dict[str, Any]:
    measures = data["measures"]
    params = [
        *_shared(data, menus=False),
        _menu("measure", "Similarity", range(len(measures)), measures),
        *(alt.param(name=name, value="") for name in ("picked_source", "picked_target")),
    ]
    chart = (
        _of_cells(alt.Chart(), params)
        .transform_calculate(alike="datum['m' + measure]", picked=PICK)
        .transform_filter("isValid(datum.alike) && isValid(datum.value) && !datum.own")
        .mark_circle()
        .encode(
            x=alt.X("alike:Q", title="similarity", scale=alt.Scale(zero=False)),
            y=alt.Y("value:Q", title="gain", scale=alt.Scale(zero=False)),
            color=alt.condition("datum.picked", alt.value(PICKED), alt.value("#8c8c8c")),
            opacity=alt.condition("datum.picked", alt.value(1), alt.value(0.45)),
            size=alt.condition("datum.picked", alt.value(160), alt.value(22)),
            order=alt.Order("picked:O"),
            tooltip=["source:N", "target:N", alt.Tooltip("value:Q", title="gain", format="+.2f")],
        )
    )
    return _spec(
        chart, "Gain of all pairs against their similarity, the chosen pair marked", 300, 200
    )


def _spec(chart: Any, about: str, width: Any, height: Any = None) -> dict[str, Any]:
    """The specification; colours of text and lines are left to the page, which knows light and dark."""
    sized = {"width": width} | ({"height": height} if height else {})
    made = chart.properties(description=about, **sized).configure(background="transparent")
    return made.configure_view(stroke=None).to_dict()
