"""The profile of one or more workloads as a page: one file that opens offline."""

from __future__ import annotations

from collections.abc import Sequence

from tokenswarm.analysis import wording as text
from tokenswarm.analysis.render.assets import chart_page, environment
from tokenswarm.analysis.render.chart import PALETTE, Chart, axis, count_axis, line, numbers, plain
from tokenswarm.analysis.render.profile_rows import Named, profile_rows

from tokenswarm.base.foreign import listed


def render_profiles(profiles: Sequence[Named]) -> str:
    """The page as text, with the same protection as the dashboard. `profiles`: (name, profile) of each workload."""
    charts = [chart for chart in (_arrivals(profiles), _hits(profiles), _blocks(profiles)) if chart is not None]
    return (
        environment()
        .get_template("profile.html.j2")
        .render(
            title=" and ".join(name for name, _ in profiles),
            names=[name for name, _ in profiles],
            lead=", ".join(f"{each.requests:,} requests" for _, each in profiles),
            notes=_notes(profiles),
            rows=profile_rows(profiles),
            charts=charts,
            **chart_page([chart.spec() for chart in charts]),
        )
    )


def _notes(profiles: Sequence[Named]) -> list[str]:
    notes = [
        f"{name}: lengths that were not recorded are estimated at four bytes of text a token."
        for name, each in profiles
        if each.estimated
    ]
    notes += [f"{name}: {each.rule_of_thumb}" for name, each in profiles if each.rule_of_thumb]
    for name, each in profiles:
        if each.hit_rate is not None and each.hit_rate.sampled is not None:
            errors = [point.error for point in each.hit_rate.lru] + [point.error for point in each.hit_rate.blocks]
            error = max(error or 0.0 for error in errors)
            notes.append(f"{name}: {text.sampled_hits(each.hit_rate.sampled)}, at most ± {100 * error:.2g} points.")
        if each.hit_rate is None and "hit_rate" in each.why:
            notes.append(f"{name}: what prompts share is not known: {each.why['hit_rate']}.")
    return notes


def _arrivals(profiles: Sequence[Named]) -> Chart | None:
    data = []
    for place, (name, each) in enumerate(profiles):
        if each.arrivals and each.arrivals.over_time:
            count, seconds = len(each.arrivals.over_time), each.arrivals.duration_s
            at = [(number + 0.5) * seconds / count for number in range(count)]
            data.append(line(numbers(at), numbers(each.arrivals.over_time, 3), plain(name), PALETTE[place % 6]))
    layout = {"xaxis": axis("seconds from the first request"), "yaxis": axis("requests/s", rangemode="tozero")}
    return Chart("arrivals", "Arrivals over time", data, layout, "", 260, wide=True) if data else None


def _hits(profiles: Sequence[Named]) -> Chart | None:
    sizes = [point.tokens for _, each in profiles if each.hit_rate for point in each.hit_rate.lru if point.tokens > 0]
    data = [
        line(
            [point.tokens for point in each.hit_rate.lru],
            numbers([100 * point.rate for point in each.hit_rate.lru], 3),
            plain(name),
            PALETTE[place % 6],
            hovertemplate="%{x:,} tokens: %{y:.1f}%<extra></extra>",
        )
        for place, (name, each) in enumerate(profiles)
        if each.hit_rate and each.hit_rate.unbounded
    ]
    layout = {
        "xaxis": count_axis(min(sizes, default=1), max(sizes, default=2), "KV cache, tokens (log scale)"),
        "hovermode": "closest",
        "yaxis": axis("% of the prompt tokens found", rangemode="tozero"),
    }
    note = "What a least-recently-used cache of each size would have found (stack distances)."
    return Chart("hits", "Hits against the size of the KV cache", data, layout, note, 300, wide=True) if data else None


def _blocks(profiles: Sequence[Named]) -> Chart | None:
    data = [
        {
            "type": "bar",
            "x": [str(point.size) for point in each.hit_rate.blocks],
            "name": plain(name),
            "y": numbers([100 * point.rate for point in each.hit_rate.blocks], 3),
            "marker": {"color": PALETTE[place % 6]},
            "hovertemplate": "blocks of %{x}: %{y:.1f}%<extra></extra>",
        }
        for place, (name, each) in enumerate(profiles)
        if each.hit_rate and each.hit_rate.unbounded
    ]
    if not any(len(listed(each["x"])) > 1 for each in data):  # one bar says what the table of figures does
        return None
    layout = {
        "barmode": "group",
        "hovermode": "closest",
        "xaxis": axis("tokens in a block", type="category"),
        "yaxis": axis("% of the prompt tokens found", rangemode="tozero"),
    }
    note = "In a cache without limits: a block is found only as a whole."
    return Chart("blocks", "Hits by the size of blocks", data, layout, note, 260)
