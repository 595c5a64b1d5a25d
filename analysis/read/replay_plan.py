"""Reads replay.csv: what the trace asked for, a row a request."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from tokenswarm.contract.tables import REPLAY_COLUMNS, REPLAY_CSV, names


@dataclass(frozen=True)
class ReplayPlan:
    """requests: columns of the table but the blocks, in the order of the trace's times. ids[starts[r] : starts[r + 1]]
    are request r's blocks, each of `block_tokens[r]` tokens."""

    requests: pd.DataFrame
    ids: np.ndarray
    starts: np.ndarray

    @property
    def has_blocks(self) -> bool:
        """Whether the trace says what prompts share."""
        return len(self.ids) > 0


def read_replay_plan(folder: Path) -> ReplayPlan | None:
    """The plan of a replay; None where there is none, or it cannot be read."""
    try:
        table = pd.read_csv(folder / REPLAY_CSV, dtype={"conversation": str, "blocks": str})
    except (OSError, ValueError):
        return None
    if list(table.columns) != names(REPLAY_COLUMNS) or not len(table):
        return None
    table = table.sort_values("at_s", kind="stable", na_position="last", ignore_index=True)
    try:
        blocks = [
            np.frombuffer(base64.b64decode(cell), dtype="<u4") if isinstance(cell, str) else np.zeros(0, dtype="<u4")
            for cell in table["blocks"]
        ]
    except ValueError:  # damaged
        blocks = [np.zeros(0, dtype="<u4")] * len(table)
    starts = np.concatenate(([0], np.cumsum([len(each) for each in blocks])))
    return ReplayPlan(table.drop(columns="blocks"), np.concatenate(blocks).astype(np.int64), starts)
