"""How answers ended, by the engine's finish_reason, and how many of each kind passed the scenario's check."""

from __future__ import annotations

import pandas as pd
from tokenswarm.analysis.figures.quantities import is_ok
from tokenswarm.analysis.figures.statistics import share

from tokenswarm.contract.summary.request_records import FinishReason
from tokenswarm.contract.tables import CUT_BY_LENGTH

_NONE = "none given"
TELLING_SHARE = 0.5
"""Share of the invalid answers from which the note on cut answers is shown."""


def finish_reasons(rows: pd.DataFrame) -> list[FinishReason]:
    """The successful `rows` by finish_reason, most frequent first."""
    ok = rows.loc[is_ok(rows), ["finish_reason", "valid_output"]]
    reasons = ok["finish_reason"].astype("object").where(ok["finish_reason"].notna(), _NONE).astype("str")
    out = []
    for reason, count in reasons.value_counts().items():
        checked = ok.loc[(reasons == reason).to_numpy(), "valid_output"].dropna().to_numpy()
        out.append(
            FinishReason(
                str(reason),
                int(count),
                share(int(count), len(ok)).figure("share"),
                len(checked),
                int((checked == 1.0).sum()),
            )
        )
    return out


def cut_notes(reasons: list[FinishReason]) -> list[str]:
    """A sentence if most of the invalid answers were cut off: they say nothing about model or engine."""
    invalid = sum(each.checked - each.valid for each in reasons)
    cut = sum(each.checked - each.valid for each in reasons if each.reason == CUT_BY_LENGTH)
    if not invalid or cut < TELLING_SHARE * invalid:
        return []
    return [
        f"{cut:,} of {invalid:,} invalid answers were cut by length: raise output.max_tokens before you judge "
        "what is valid."
    ]
