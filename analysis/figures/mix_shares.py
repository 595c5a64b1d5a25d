"""Requested and actual shares of the user classes in a mix."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from tokenswarm.analysis import wording as text
from tokenswarm.analysis.figures.statistics import share

from tokenswarm.contract.manifest import Manifest
from tokenswarm.contract.summary.request_records import MixShare

_OF = {"users": "users", "sessions": "session starts", "requests": "requests"}


def asked_shares(manifest: Manifest) -> tuple[str, dict[str, float]]:
    """What the weights of the run's mix are shares of, and the share of each user class; ("", {}) without a mix."""
    mix = manifest.scenario.table("mix")
    parts = [part for part in mix.get("parts") or [] if isinstance(part, Mapping)]
    weights = {
        str(part.get("user_class")): float(part["weight"])
        for part in parts
        if isinstance(part.get("weight"), int | float) and part["weight"] > 0
    }
    total = sum(weights.values())
    return (str(mix.get("of")), {name: weight / total for name, weight in weights.items()}) if total else ("", {})


def mix_shares(manifest: Manifest, rows: pd.DataFrame) -> dict[str, MixShare]:
    """By user class, the requested share and the actual shares: of all requests sent in the measure phase, and of the
    sessions that began there (first turns).
    """
    of, wanted_shares = asked_shares(manifest)
    names = rows["user_class"].astype("object").to_numpy()
    first = rows["turn"].to_numpy() == 1
    return {
        name: MixShare(
            of,
            wanted,
            share(int(np.sum(names == name)), len(rows)).figure("share"),
            share(int(np.sum((names == name) & first)), int(first.sum())).figure("share"),
        )
        for name, wanted in wanted_shares.items()
    }


def mix_note(shares: Mapping[str, MixShare]) -> list[str]:
    """One sentence about them; empty without a mix."""
    if not shares:
        return []
    of = next(iter(shares.values())).of
    wanted = ", ".join(f"{name} {text.percent(each.asked)}" for name, each in shares.items())
    requests = ", ".join(f"{name} {text.quantity(each.requests)}" for name, each in shares.items())
    begun = ", ".join(f"{name} {text.quantity(each.sessions)}" for name, each in shares.items())
    came = f"Of the requests there came: {requests}."
    if of == "sessions":
        came = f"Of the sessions that began: {begun}. {came}"
        if begun == requests:
            came = f"Of sessions and requests there came: {requests}."
    return [f"Mix: shares of {_OF.get(of, of)} were to be {wanted}. {came}"]
