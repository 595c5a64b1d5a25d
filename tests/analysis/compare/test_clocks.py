"""Runs whose GPUs ran at different clocks are not compared."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from tokenswarm.analysis.compare.ab_test import Rules
from tokenswarm.analysis.compare.comparison_report import compare_runs
from tokenswarm.analysis.figures.gpu_states import clocks_apart
from tokenswarm.analysis.read.run_folder import read_run
from tokenswarm.analysis.summary import summarise

from tests.analysis.compare.test_comparison import START, run
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.contract.summary.header_records import GpuState
from tokenswarm.contract.tables import HOST_METRICS_CSV


def on_gpu(folder: Path, name: str, clock_mhz: int, seed: int, *, throttle: str = "", **facts) -> Path:
    """A run on a card that worked at this clock, and idled at 210 MHz for a while."""
    made = run(folder, name, 100, seed=seed, gpus=["H100"], **facts)
    path = made / HOST_METRICS_CSV
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    columns = list(rows[0])
    rows += [
        dict.fromkeys(columns, "")
        | {"at": START + second, "source": "gpu 0", "gpu_util": util, "gpu_clock_mhz": clock, "gpu_throttle": throttle}
        for second, (util, clock) in enumerate([(0.9, clock_mhz)] * 30 + [(0.0, 210)] * 25)
    ]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    return made


def sides(folder: Path, clocks_b: list[int], **facts) -> dict[str, list[Path]]:
    a = [on_gpu(folder, f"v-{seed}", 1980, seed) for seed in range(len(clocks_b))]
    return {
        "a": a,
        "b": [
            on_gpu(folder, f"s-{seed}", clock, seed, engine="SGLang", **facts) for seed, clock in enumerate(clocks_b)
        ],
    }


def test_the_clock_is_that_of_a_working_card(tmp_path: Path) -> None:
    states = summarise(read_run(on_gpu(tmp_path, "v", 1755, 1, throttle="power+heat"))).run.gpu_states
    assert [(state.source, state.clock_mhz) for state in states] == [("gpu 0", 1755)]
    assert states[0].throttled == {"heat": 1.0, "power": 1.0}


def test_a_pair_at_different_clocks_stands_aside_and_is_named(tmp_path: Path) -> None:
    compared = compare_runs(**sides(tmp_path, [1980, 1410, 1965]))
    assert [len(group) for group in (compared.groups.a, compared.groups.b)] == [2, 2]
    assert {each.run_id for each in compared.groups.left_out} == {"v-1", "s-1"}
    assert all("1,980 MHz in one and at 1,410 MHz in the other" in each.why for each in compared.groups.left_out)
    everything = compare_runs(**sides(tmp_path, [1980, 1410, 1965]), rules=Rules(any_clocks=True))
    assert len(everything.groups.b) == 3 and not everything.groups.left_out


def test_sides_that_never_ran_at_one_clock_have_no_verdict(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="gpu 0 ran at 1,980 MHz in one and at 1,410 MHz") as raised:
        compare_runs(**sides(tmp_path, [1410, 1410]))
    assert raised.value.code is Exit.INVALID


def test_cards_of_two_kinds_have_clocks_of_their_own(tmp_path: Path) -> None:
    a = [on_gpu(tmp_path, f"v-{seed}", 1980, seed) for seed in (1, 2)]
    b = [on_gpu(tmp_path, f"s-{seed}", 1410, seed, engine="SGLang") for seed in (1, 2)]
    for folder in b:
        path = folder / "run.json"
        path.write_text(path.read_text().replace('"H100"', '"A100"'))
    assert not compare_runs(a=a, b=b).groups.left_out


@pytest.mark.parametrize(
    ("one", "other", "apart"),
    [
        (GpuState("gpu 0", 1980), GpuState("gpu 0", 1900), False),
        (GpuState("gpu 0", 1980), GpuState("gpu 0", 1860), True),
        (GpuState("gpu 0", 1980, {"heat": 0.3}), GpuState("gpu 0", 1980), True),
        (GpuState("gpu 0", 1980, {"power": 0.9}), GpuState("gpu 0", 1980), False),
        (GpuState("gpu 0", None), GpuState("gpu 0", 1980), False),
    ],
)
def test_what_counts_as_another_clock(one: GpuState, other: GpuState, apart: bool) -> None:
    assert (clocks_apart([one], [other]) is not None) == apart
