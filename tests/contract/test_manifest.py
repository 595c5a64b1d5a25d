"""run.json through its one reader and its one writer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.contract.manifest import (
    Manifest,
    PhaseRecord,
    Reason,
    manifest_json,
    manifest_of,
    note_verdict,
    read_manifest,
    write_manifest,
)
from tokenswarm.contract.tables import FORMAT

OLD = Path(__file__).parent.parent / "analysis" / "data" / "run_format_1"


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    manifest = manifest_of(json.loads((OLD / "run.json").read_text()))
    write_manifest(tmp_path, manifest)
    assert read_manifest(tmp_path) == manifest
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"], "no temporary file is left"


def test_no_value_of_an_old_run_is_lost_or_moved() -> None:
    content = json.loads((OLD / "run.json").read_text())
    written = manifest_json(manifest_of(content))
    content["counts"]["arrivals_queued"] = content["counts"].pop("found_nobody")
    assert json.dumps(written, sort_keys=True) == json.dumps(content, sort_keys=True), "also 3 and 3.0 differ"


def test_a_count_is_read_under_its_old_name() -> None:
    assert manifest_of({"counts": {"found_nobody": 3}}).counts.arrivals_queued == 3


def test_what_has_a_wrong_type_counts_as_missing_and_the_rest_is_kept() -> None:
    manifest = manifest_of(
        {
            "run_id": "r",
            "seed": [1],
            "engine": "vllm",
            "counts": {"sent": "many", "ok": 3},
            "surprise": 1,
            "notes": ["a", None, 3],
            "phases": [{"name": "warmup"}, {"name": "measure", "start": 1.5}, 7],
            "validity": {"verdict": "INVALID", "reasons": [{"rule": "x"}, "y"]},
        }
    )
    assert (manifest.run_id, manifest.seed, manifest.engine.name) == ("r", None, None)
    assert (manifest.counts.sent, manifest.counts.ok) == (None, 3)
    assert manifest.notes == ["a"] and manifest.phases == [PhaseRecord("measure", 1.5)]
    assert manifest.validity.reasons == [Reason("x")]


@pytest.mark.parametrize("content", ["", "{", "[1]", "null"])
def test_a_file_that_is_no_manifest_is_refused_by_name(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(UserError, match=r"run\.json cannot be read") as caught:
        read_manifest(tmp_path)
    assert caught.value.code is Exit.RUN_FOLDER


def test_a_newer_format_is_refused_with_what_to_do(tmp_path: Path) -> None:
    write_manifest(tmp_path, Manifest(format=FORMAT + 1))
    with pytest.raises(UserError, match=f"has format {FORMAT + 1}.*up to {FORMAT}.*newer one"):
        read_manifest(tmp_path)


def test_a_verdict_is_put_into_it(tmp_path: Path) -> None:
    write_manifest(tmp_path, Manifest(format=FORMAT, run_id="r"))
    reason = {"rule": "cpu", "verdict": "INVALID", "value": 0.97, "limit": 0.9, "unit": "share", "sentence": "No."}
    note_verdict(tmp_path, "INVALID", [reason])
    manifest = read_manifest(tmp_path)
    assert manifest.run_id == "r" and manifest.validity.reasons == [Reason(**reason)]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"run\.json cannot be written") as caught:
        write_manifest(tmp_path / "gone", Manifest())
    assert caught.value.code is Exit.RESULTS
