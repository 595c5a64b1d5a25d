"""From a run folder to summary.json, dashboard.html and the other files of its report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tokenswarm.analysis.compare.baseline import TOLERANCE, against, baseline_folders
from tokenswarm.analysis.figures.drift_series import drift_gates
from tokenswarm.analysis.library.kinds import last_of_the_kind, wanted_last
from tokenswarm.analysis.read.run_folder import read_run
from tokenswarm.analysis.render.dashboard import render
from tokenswarm.analysis.render.junit import junit
from tokenswarm.analysis.render.markdown import markdown
from tokenswarm.analysis.summary import summarise
from tokenswarm.analysis.verdict.gates import judged

from tokenswarm.base.files import write_whole
from tokenswarm.contract.summary.summary_file import refuse_newer_summary, write_summary
from tokenswarm.contract.summary.summary_record import Summary
from tokenswarm.contract.tables import DASHBOARD_HTML, JUNIT_XML, SUMMARY_MD


def report(
    folder: str | Path,
    strict: bool = False,
    baseline: str | Path | None = None,
    tolerance: float = TOLERANCE,
    fail_on_drift: bool = False,
    dashboard: bool = True,
) -> Summary:
    """Read the run, write summary.json, junit.xml, summary.md and dashboard.html into its folder, return the summary.

    - fail_on_drift: a series that got worse over the run is a missed gate (see analysis/figures/drift_series.py)
    - dashboard: if false, the page is left as it is; making it costs more than all the rest
    - strict: an undetermined gate counts as missed (in junit.xml and summary.md)
    - baseline: the folder of an earlier run, several separated by commas, or `last` or `last:N`, the last valid runs of
      this kind. Regressions by more than `tolerance` are gates too (see analysis/compare/baseline.py)

    Raises UserError: Exit.RUN_FOLDER if nothing can be read, or a newer version already made these figures;
    Exit.RESULTS if nothing can be written.
    """
    earlier = _earlier(Path(folder), baseline)
    for each in (folder, *earlier):
        refuse_newer_summary(Path(each))
    run = read_run(folder)
    summary = summarise(run)
    if earlier:
        summary.baseline = against([summarise(read_run(each)) for each in earlier], summary, tolerance)
    if fail_on_drift:
        summary.drift_gates = drift_gates(summary.drift)
    summary.outcome = judged(summary, strict)
    write_summary(run.folder, summary)
    write_whole(run.folder / JUNIT_XML, junit(summary, strict))
    write_whole(run.folder / SUMMARY_MD, markdown(summary, strict))
    if dashboard:
        write_whole(run.folder / DASHBOARD_HTML, render(run, summary))
    return summary


def _earlier(folder: Path, baseline: str | Path | None) -> Sequence[Path]:
    """The runs of the baseline."""
    wanted = None if baseline is None else wanted_last(str(baseline))
    return baseline_folders(baseline) if wanted is None else last_of_the_kind(folder, wanted)
