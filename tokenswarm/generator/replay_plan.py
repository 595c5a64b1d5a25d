"""replay.csv: what a trace asks for in this run, a row a request, so that whoever reads the run needs no trace."""

from __future__ import annotations

import binascii
import csv
from array import array
from collections.abc import Iterable
from pathlib import Path

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.contract.tables import REPLAY_COLUMNS, REPLAY_CSV, names
from tokenswarm.workloads.base import PlannedRequest


def write_replay_plan(folder: Path, planned: Iterable[PlannedRequest]) -> None:
    """Write the table. Ids of blocks are numbered anew. Raises UserError (RESULTS)."""
    numbers: dict[tuple[str, int], int] = {}
    try:
        with (folder / REPLAY_CSV).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(names(REPLAY_COLUMNS))
            for each in planned:
                ids = array(
                    "I", (numbers.setdefault((each.scope, identity), len(numbers)) for identity in each.hash_ids or ())
                )
                at_s = "" if each.at_s is None else f"{each.at_s:.6f}"
                writer.writerow(
                    [
                        each.conversation,
                        each.turn,
                        at_s,
                        _cell(each.prompt_tokens),
                        _cell(each.output_tokens),
                        _cell(each.block_tokens if ids else None),
                        binascii.b2a_base64(ids.tobytes(), newline=False).decode("ascii"),
                    ]
                )
    except OSError as error:
        raise UserError(Exit.RESULTS, f"{folder} cannot be written ({error.strerror})") from None


def _cell(value: int | None) -> str:
    return "" if value is None else str(value)
