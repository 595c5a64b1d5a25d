"""What prompts.csv costs: CPU and bytes per request when it is written, memory, and seconds when it is read.

    python bench/prompt_hashes.py [REQUESTS]

Writes the prompts of the built-in scenarios as the load generator would (default 100,000 of chat, which is all that a
report looks at), then makes the yardstick of them. Exits with 1 when a limit is exceeded.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tokenswarm.client.answer import Answer, Usage
from tokenswarm.contract import tables as schema
from tokenswarm.generator.fingerprints import Fingerprints, fresh_key
from tokenswarm.generator.rows import Origin, request_row
from tokenswarm.scenario.loading import load_scenario
from tokenswarm.workloads import create
from tokenswarm.workloads.base import Prompt, chars_of
from tokenswarm.workloads.corpus import load_corpus

SCENARIOS = ("rag", "chat", "chat-7k", "batch")
PROMPT_US_LIMIT, MEMORY_KB_LIMIT, YARDSTICK_S_LIMIT = 100.0, 1000.0, 8.0
SAMPLE = 2000
ANSWER_CHARS = 400


def prompts_of(name: str) -> Iterator[tuple[Prompt, Answer]]:
    """An endless stream of a scenario's requests, session after session, each with a different answer."""
    workload = create(load_scenario(name, {}), load_corpus(), 1, "")
    for number in count():
        session = workload.session("measure", number)
        for prompt in session:
            text = f"{number} {prompt.turn} " + "an answer of some length. " * (ANSWER_CHARS // 26)
            session.record_answer(text)
            tokens = chars_of(prompt.messages) // 4
            usage = Usage(prompt_tokens=tokens, cached_tokens=tokens // 2, completion_tokens=len(text) // 4)
            yield prompt, Answer(text=text, usage=usage, ttft_ms=50.0, e2e_ms=900.0, chunks=100)


def writing_cost(name: str) -> tuple[float, float, float]:
    """(characters, microseconds of CPU, bytes) per request, averaged over SAMPLE requests."""
    made = list(islice(prompts_of(name), SAMPLE))
    hashes = Fingerprints(fresh_key())
    begin = time.process_time()
    size = sum(len(hashes.row(0, i, prompt.messages, answer)) for i, (prompt, answer) in enumerate(made))
    took = time.process_time() - begin
    return sum(chars_of(prompt.messages) for prompt, _ in made) / SAMPLE, 1e6 * took / SAMPLE, size / SAMPLE


def long_prompt_us() -> float:
    """Microseconds of CPU for a new prompt of 28,000 characters."""
    text, hashes = load_corpus().text[:28_000], Fingerprints(fresh_key())
    made = [[{"role": "user", "content": f"{i} {text}"}] for i in range(200)]
    begin = time.process_time()
    for i, messages in enumerate(made):
        hashes.row(0, i, messages, Answer())
    return 1e6 * (time.process_time() - begin) / len(made)


def memory_kb() -> float:
    """Memory that 100,000 different requests leave behind, in kilobytes."""
    tracemalloc.start()
    hashes = Fingerprints(fresh_key())
    before = tracemalloc.get_traced_memory()[0]
    for i in range(100_000):
        hashes.row(0, i, [{"role": "user", "content": f"{i} a question"}], Answer())
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return grown / 1e3


def write_run(folder: Path, name: str, requests: int) -> None:
    """A run folder with this many requests of a scenario, at 100 per second."""
    hashes = Fingerprints(fresh_key())
    with (folder / schema.REQUESTS_CSV).open("w") as rows, (folder / schema.PROMPTS_CSV).open("w") as prompts:
        rows.write(schema.header(schema.REQUEST_COLUMNS))
        prompts.write(schema.header(schema.PROMPT_COLUMNS))
        for number, (prompt, answer) in enumerate(islice(prompts_of(name), requests)):
            answer.sent_at = 1_795_000_000.0 + number / 100.0
            row = request_row(Origin("r", 0, "measure", "User", f"r-0-{number}"), prompt, answer)
            rows.write(schema.format_rows(schema.REQUEST_COLUMNS, (row,)))
            prompts.write(hashes.row(0, number, prompt.messages, answer))
    (folder / schema.MANIFEST_JSON).write_text(
        '{"engine": {"effective": {"block_size": 16, "kv_capacity_tokens": 100000}}}'
    )


def yardstick_cost(name: str, requests: int) -> tuple[float, float]:
    """(seconds, MiB beyond those for reading the rows) of computing a run's yardstick."""
    from tokenswarm.analysis.cache.yardstick import cache_figures
    from tokenswarm.analysis.read.run_folder import read_run

    with tempfile.TemporaryDirectory() as scratch:
        write_run(Path(scratch), name, requests)
        run = read_run(scratch)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        begin = time.perf_counter()
        measured = cache_figures(run, run.measured, None).yardstick
        took = time.perf_counter() - begin
        print(f"{name}: {measured.requests_known:,} requests: {measured.sentence}")
    return took, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def main() -> int:
    """Run the benchmark; 0 if every limit holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("requests", type=int, nargs="?", default=100_000)
    args = parser.parse_args()
    for name in SCENARIOS:
        chars, us, size = writing_cost(name)
        print(f"{name:8} {chars:7.0f} characters  {us:6.1f} us  {size:5.0f} bytes a request")
    long_us, kept_kb = long_prompt_us(), memory_kb()
    seconds, mib = yardstick_cost("chat", args.requests)
    print(f"memory of the yardstick: {mib:.0f} MiB more")
    checks = [
        ("28,000 new characters", long_us, PROMPT_US_LIMIT, "us"),
        ("kept after 100,000 requests", kept_kb, MEMORY_KB_LIMIT, "kB"),
        ("yardstick", seconds, YARDSTICK_S_LIMIT, "s"),
    ]
    for name, value, limit, unit in checks:
        print(f"  {name:28} {value:8.1f} {unit:3} (limit {limit:g}) {'ok' if value <= limit else 'EXCEEDED'}")
    return int(any(value > limit for _, value, limit, _ in checks))


if __name__ == "__main__":
    sys.exit(main())
