"""How long a report takes, and how much memory, for many rows.

    python bench/report_scale.py [ROWS] [--keep FOLDER]

Writes a synthetic run folder of ROWS requests (default 1,000,000), makes its report in a process of its own, and
prints time, peak memory and page size beside their limits. Exits with 1 when a limit is exceeded (limits are for
1,000,000 rows and scale with ROWS beyond).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

SECONDS_LIMIT, MIB_LIMIT, PAGE_MB_LIMIT = 15.0, 1536.0, 6.0
SAMPLE_ROWS = 20_000

CHILD = """
import json, resource, sys, time
begin = time.perf_counter()
from tokenswarm.analysis.run_report import report
summary = report(sys.argv[1])
took = time.perf_counter() - begin
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"seconds": took, "peak_mib": peak, "rows": summary.counts.rows_in_file,
                  "verdict": summary.verdict}))
"""


def write_big_run(folder: Path, rows: int) -> None:
    """A run folder of `rows` requests: one sample repeated, each time later, with new request ids."""
    from tests.analysis.make_run import START, make_run, manifest
    from tokenswarm.contract import tables as schema

    rate = 200.0
    sample_s = SAMPLE_ROWS / rate
    make_run(folder, "chat", seconds=sample_s, rate=rate)
    lines = (folder / schema.REQUESTS_CSV).read_text().splitlines()
    head, body = lines[0], lines[1:]
    names = schema.names(schema.REQUEST_COLUMNS)
    id_at, sent_at = names.index("request_id"), names.index("sent_at")
    cells = [line.split(",") for line in body if ",measure," in line]
    e2e = names.index("e2e_ms")
    cells.sort(key=lambda cell: float(cell[sent_at]) + float(cell[e2e] or 0.0) / 1000.0)  # as a run does
    written = 0
    with (folder / schema.REQUESTS_CSV).open("w") as file:
        file.write(head + "\n")
        while written < rows:
            shift = written // len(cells) * sample_s
            for cell in cells[: rows - written]:
                row = list(cell)
                row[id_at] = f"{written:032x}"
                row[sent_at] = f"{float(cell[sent_at]) + shift:.6f}"
                file.write(",".join(row) + "\n")
                written += 1
    seconds = (rows / len(cells)) * sample_s
    described = manifest("chat", seconds, counts={"sent": rows})
    described["phases"][1]["end"] = START + seconds
    (folder / schema.MANIFEST_JSON).write_text(json.dumps(described))


def main() -> int:
    """Run the benchmark; 0 if every limit holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=int, nargs="?", default=1_000_000)
    parser.add_argument("--keep", type=Path, help="keep the run folder here")
    args = parser.parse_args()
    root = Path(__file__).resolve().parent.parent
    sys.path.insert(0, str(root))
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.keep or Path(scratch) / "run"
        write_big_run(folder, args.rows)
        csv_mb = (folder / "requests.csv").stat().st_size / 1e6
        done = subprocess.run(
            [sys.executable, "-c", CHILD, str(folder)], cwd=root, capture_output=True, text=True, check=True
        )
        measured = json.loads(done.stdout.splitlines()[-1])
        page_mb = (folder / "dashboard.html").stat().st_size / 1e6
    more = max(1.0, args.rows / 1e6)
    checks = [
        ("time", measured["seconds"], SECONDS_LIMIT * more, "s"),
        ("peak memory", measured["peak_mib"], MIB_LIMIT * more, "MiB"),
        ("page", page_mb, PAGE_MB_LIMIT, "MB"),
    ]
    print(f"{measured['rows']:,} rows, {csv_mb:.0f} MB of CSV, verdict {measured['verdict']}")
    for name, value, limit, unit in checks:
        print(f"  {name:12} {value:8.1f} {unit:4} (limit {limit:g} {unit}) {'ok' if value <= limit else 'EXCEEDED'}")
    return int(any(value > limit for _, value, limit, _ in checks))


if __name__ == "__main__":
    sys.exit(main())
