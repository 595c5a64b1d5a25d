"""Output that nobody reads any more."""

from __future__ import annotations

import os
import sys

from tokenswarm.base.terminal import BrokenPipeSafeStream


def test_output_without_a_reader_turns_silent_instead_of_ending_the_run() -> None:
    reading, writing = os.pipe()
    stream = os.fdopen(writing, "w", buffering=1)
    output = BrokenPipeSafeStream(stream)
    output.write("read\n")
    assert os.read(reading, 100) == b"read\n"
    os.close(reading)
    for _ in range(3):
        assert output.write("nobody reads this\n") == 18
        output.flush()
    stream.close()


def test_output_is_otherwise_the_stream_itself() -> None:
    output = BrokenPipeSafeStream(sys.__stdout__)
    assert (output.isatty(), output.encoding, output.fileno()) == (
        sys.__stdout__.isatty(), sys.__stdout__.encoding, sys.__stdout__.fileno())
