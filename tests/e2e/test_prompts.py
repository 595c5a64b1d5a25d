"""The same seed gives the same prompts; another salt never hits the cache. Seen from outside, on one simulator."""

from __future__ import annotations

from tokenswarm.base.errors import Exit

from .support import Finished


def _by_turn(run: Finished) -> dict[tuple[str, str, str], tuple[str, str, str]]:
    return {
        (row["phase"], row["conversation"], row["turn"]): (
            row["document"],
            row["prompt_chars"],
            row["shared_prefix_chars"],
        )
        for row in run.table()
    }


def _by_document(run: Finished) -> dict[str, list[dict[str, str]]]:
    """The answered requests on each document whose first request was answered."""
    rows = sorted(run.table(), key=lambda row: float(row["sent_at"]))
    found: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        found.setdefault(row["document"], []).append(row)
    return {
        document: [row for row in asked if row["status"] == "ok"]
        for document, asked in found.items()
        if asked[0]["status"] == "ok"
    }


def _cached_share(row: dict[str, str]) -> float:
    return int(row["cached_tokens"]) / int(row["prompt_tokens"])


def test_runs_against_an_external_endpoint_end_well(series: dict[str, Finished]) -> None:
    for name in ("first", "second"):
        assert series[name].code in (Exit.PASSED, Exit.SLO_MISSED, Exit.INVALID), series[name].err
        assert series[name].manifest["engine"]["runtime"] == "external"
        assert series[name].left == []


def test_same_seed_gives_the_same_prompts(series: dict[str, Finished]) -> None:
    assert series["first"].manifest["seed"] == series["second"].manifest["seed"] == 7
    first, second = _by_turn(series["first"]), _by_turn(series["second"])
    both = first.keys() & second.keys()
    assert len(both) >= 5
    assert {key: first[key] for key in both} == {key: second[key] for key in both}


def test_same_seed_and_salt_give_the_same_bytes(series: dict[str, Finished]) -> None:
    # The engine has seen these very bytes: even the second run's first prompts on a document are cached nearly whole.
    known = _by_document(series["first"]).keys()
    again = [row for document, rows in _by_document(series["second"]).items() if document in known for row in rows]
    assert again
    assert min(map(_cached_share, again)) > 0.8


def test_another_salt_hits_nothing_that_an_earlier_run_cached(series: dict[str, Finished]) -> None:
    salts = [series[name].manifest["salt"] for name in ("first", "second", "locust")]
    assert salts[0] == salts[1] == "fixed" and salts[2] != "fixed"
    for name in ("first", "locust"):
        documents = _by_document(series[name])
        assert documents
        for document, rows in documents.items():
            # One request on it, at least, found nothing but the few words that all documents of a run begin with.
            assert min(map(_cached_share, rows)) < 0.1, (name, document)
