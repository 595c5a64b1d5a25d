"""Reads replay.csv: what the trace asked for, one row per request."""

from __future__ import annotations

import base64
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from tokenswarm.base.numbers import LARGEST
from tokenswarm.contract.tables import REPLAY_COLUMNS, REPLAY_CSV, names


@dataclass(frozen=True)
class ReplayPlan:
    """requests: the table's columns except the blocks, in the order of the trace's times.

    `ids[starts[r] : starts[r + 1]]` are request r's blocks, each of `block_tokens[r]` tokens.
    """

    requests: pd.DataFrame
    ids: np.ndarray
    starts: np.ndarray

    @property
    def has_blocks(self) -> bool:
        """Whether the trace records what prompts share."""
        return len(self.ids) > 0


_REACHES = {
    "turn": (1, 1_000_000),
    "at_s": (0, LARGEST),
    "prompt_tokens": (0, 100_000_000),
    "output_tokens": (0, 100_000_000),
    "block_tokens": (1, 100_000_000),
}
"""Range of valid values by column."""


def _fits(named: tuple[Hashable, pd.Series]) -> bool:
    """Whether a column's values are possible in a trace: numbers, if it is numeric."""
    name, column = named
    if name not in _REACHES:
        return bool(column.notna().all()) if name == "conversation" else True
    there = column.dropna()
    if not len(there):
        return name != "turn"
    if not pd.api.types.is_numeric_dtype(there) or pd.api.types.is_bool_dtype(there):
        return False
    whole = name == "at_s" or bool((there == np.floor(there)).all())
    complete = name != "turn" or len(there) == len(column)
    return whole and complete and bool(there.between(*_REACHES[name]).all())


def read_replay_plan(folder: Path) -> ReplayPlan | None:
    """The plan of a replay; None if there is none, or it cannot be read."""
    try:
        table = pd.read_csv(folder / REPLAY_CSV, dtype={"conversation": str, "blocks": str})
    except (OSError, ValueError):
        return None
    if list(table.columns) != names(REPLAY_COLUMNS) or not len(table) or not all(map(_fits, table.items())):
        return None
    table = table.sort_values("at_s", kind="stable", na_position="last", ignore_index=True)
    try:
        blocks = [
            np.frombuffer(base64.b64decode(cell), dtype="<u4")
            if isinstance(cell, str) and size == size  # without a size they mean nothing
            else np.zeros(0, dtype="<u4")
            for cell, size in zip(table["blocks"], table["block_tokens"], strict=True)
        ]
    except ValueError:  # damaged
        blocks = [np.zeros(0, dtype="<u4")] * len(table)
    starts = np.concatenate(([0], np.cumsum([len(each) for each in blocks])))
    return ReplayPlan(table.drop(columns="blocks"), np.concatenate(blocks).astype(np.int64), starts)
