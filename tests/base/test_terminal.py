"""Output that is no longer read, or cannot be encoded."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from tokenswarm.base.terminal import LastingStream

_PROGRAM = (
    "import os, sys\nfrom tokenswarm.base.terminal import last_through_everything, why_output_was_lost\n"
    "last_through_everything()\nname = os.open(os.devnull, os.O_RDONLY)\n"
    "print('caf\\u00e9 \\u2013 \\udcff'); why = why_output_was_lost()\n"
    "print(name > 2, why, file=sys.stderr); sys.exit(3)\n"
)


def test_output_without_a_reader_turns_silent_instead_of_ending_the_run() -> None:
    reading, writing = os.pipe()
    stream = os.fdopen(writing, "w", buffering=1)
    output = LastingStream(stream)
    output.write("read\n")
    assert os.read(reading, 100) == b"read\n"
    os.close(reading)
    for _ in range(3):
        assert output.write("nobody reads this\n") == 18
        output.flush()
    assert output.lost is None  # who goes away has read enough
    stream.close()


def test_output_is_otherwise_the_stream_itself() -> None:
    output = LastingStream(sys.__stdout__)
    assert (output.isatty(), output.encoding, output.fileno()) == (
        sys.__stdout__.isatty(),
        sys.__stdout__.encoding,
        sys.__stdout__.fileno(),
    )


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no disk that is always full")
def test_output_onto_a_full_disk_turns_silent_and_knows_why() -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:
        output = LastingStream(full)
        for _ in range(2):
            output.write("lost\n")
            output.flush()
    assert output.lost is not None and output.lost.strerror == "No space left on device"


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_a_character_that_the_terminal_does_not_know_is_an_escape(encoding: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )
    assert done.returncode == 3
    assert done.stdout.decode(encoding).startswith("caf")
    assert done.stderr == b"True None\n"


def _closed() -> None:
    os.close(1)


def _all_closed() -> None:
    os.closerange(0, 3)


@pytest.mark.parametrize("close", [_closed, _all_closed])
def test_a_descriptor_that_is_closed_is_given_to_nothing_else(close: Callable[[], None]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        preexec_fn=close,
        stderr=None if close is _all_closed else subprocess.PIPE,
        check=False,
    )
    assert done.returncode == 3
    if done.stderr is not None:
        assert done.stderr == b"True None\n"
