"""The chart of the cache yardstick, from what the workload allows to what the engine got."""

from __future__ import annotations

from tokenswarm.analysis import wording as text
from tokenswarm.analysis.render.chart import BAD, GOOD, IDLE, Chart, ChartSection, axis, count_axis, numbers, plain

from tokenswarm.contract.summary.cache_records import Cache, CacheStep

_TAKERS = {
    "workload": ("new text: the workload", IDLE),
    "blocks": ("lost to the block size", "c:orange"),
    "memory": ("lost to memory", "c:purple"),
    "engine": ("lost in the engine", BAD),
}
"""The cause of the loss in each step, and its colour."""


def cache_section(cache: Cache) -> ChartSection:
    """The yardstick with its verdict; without charts if prompts were not recorded."""
    if not cache.yardstick.recorded:
        return ChartSection("cache", "Prefix cache")
    curve = [_curve(cache)] if len(cache.yardstick.curve) > 1 else []
    return ChartSection("cache", "Prefix cache", [_waterfall(cache), *curve], cache.yardstick.words)


def _curve(cache: Cache) -> Chart:
    """How the hit rate grows with the size of the KV cache."""
    measured = cache.yardstick
    shares = [100.0 * point.rate for point in measured.curve]
    sizes = [point.tokens for point in measured.curve]
    data: list[dict[str, object]] = [
        {
            "type": "scatter",
            "mode": "lines",
            "x": sizes,
            "y": numbers(shares, 2),
            "name": "a cache of that size",
            "line": {"color": "c:blue", "width": 2},
            "hovertemplate": "%{x:,} tokens: %{y:.1f}% of the prompt tokens<extra></extra>",
        }
    ]
    capacity, got = measured.kv_capacity_tokens, measured.engine.value
    if capacity and got is not None:
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": [capacity],
                "y": numbers([100.0 * got], 2),
                "name": "the engine, with its KV cache",
                "marker": {"color": GOOD, "size": 10},
                "hovertemplate": "the engine: %{y:.1f}% with %{x:,} tokens<extra></extra>",
            }
        )
    layout = {
        "xaxis": count_axis(min(sizes), max(*sizes, capacity or 0), "KV cache, tokens (log scale)"),
        "yaxis": axis("% of the prompt tokens found", rangemode="tozero"),
        "hovermode": "closest",
        "showlegend": True,
    }
    return Chart(
        "cache-curve",
        "Hits against the size of the KV cache",
        data,
        layout,
        (
            f"By stack distances, in blocks of {measured.curve_block:,}, forgetting the end of what was used longest "
            "ago; requests of the warm-up fill the cache too. To the piece in which prompts are "
            "recorded, so a little low."
        ),
        300,
        wide=True,
    )


def _waterfall(cache: Cache) -> Chart:
    steps = cache.yardstick.steps
    labels = [plain(step.title).replace("cache of ", "cache of  <br>") for step in steps]  # for narrow screens
    shares = [100.0 * step.share for step in steps]
    kept = {
        "type": "bar",
        "orientation": "h",
        "y": labels,
        "x": numbers(shares),
        "name": "found",
        "marker": {"color": [GOOD if step.taker == "engine" else "c:sky" for step in steps]},
        "text": [text.percent(step.share) for step in steps],
        "textposition": "inside",
        "insidetextanchor": "start",
        "hovertemplate": "%{y}: %{x:.1f}% of the prompt tokens<extra></extra>",
        "showlegend": False,
    }
    lost = [_lost(index, steps, labels) for index in range(len(steps))]
    layout = {
        "barmode": "stack",
        "xaxis": axis("% of the prompt tokens", range=[0, 100]),
        "yaxis": axis("", autorange="reversed", ticksuffix="  ", showgrid=False),
        "hovermode": "closest",
        "showlegend": True,
        "legend": {"traceorder": "normal"},
        "bargap": 0.35,
        "margin": {"r": 48},  # room for the loss, beside a bar that ends at 100
    }
    return Chart(
        "cache-yardstick",
        "What the prefix cache could have found, and what it did",
        [kept, *(trace for trace in lost if trace)],
        layout,
        _note(cache),
        150 + 42 * len(steps),
        wide=True,
    )


def _lost(index: int, steps: list[CacheStep], labels: list[str]) -> dict[str, object] | None:
    """The loss at this step, at the end of its bar."""
    step = steps[index]
    if step.lost <= 0:
        return None
    name, color = _TAKERS[step.taker]
    # The legend names it; the number is in the bar if there is room.
    return {
        "type": "bar",
        "orientation": "h",
        "y": [labels[index]],
        "x": numbers([100.0 * step.lost]),
        "name": name,
        "marker": {"color": color},
        "textangle": 0,
        "text": [f"−{text.percent(step.lost)}"],
        "textposition": "inside" if step.lost > 0.06 else "outside",
        "cliponaxis": False,
        "hovertemplate": f"{name}: %{{x:.1f}}% of the prompt tokens<extra></extra>",
    }


def _note(cache: Cache) -> str:
    measured = cache.yardstick
    parts = [f"Over {measured.requests:,} successful requests, in the order sent."]
    low, high = measured.ideal_range
    if high - low > 0.01:
        between = f"{text.percent(low)} to {text.percent(high)}"
        parts.append(f"Prompts are recorded in pieces, so the workload allows {between}.")
    rates = {"usage": cache.usage_hit_rate, "its counters": cache.counters_hit_rate}
    reports = [f"{text.percent(share)} by {name}" for name, share in rates.items() if share is not None]
    if reports:
        parts.append(f"The engine itself reports {' and '.join(reports)}.")
    return " ".join(parts)
