"""Prompts in the form that the load generator records, for tests of the yardstick."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from tokenswarm.analysis.read.prompts import RecordedPrompts, read_prompts

from tokenswarm.client.answer import Answer
from tokenswarm.contract import tables as schema
from tokenswarm.generator.fingerprints import Fingerprints

Message = dict[str, str]


def user(text: str) -> Message:
    """A user's message."""
    return {"role": "user", "content": text}


def assistant(text: str) -> Message:
    """An assistant's message."""
    return {"role": "assistant", "content": text}


def prompts_of(requests: Sequence[tuple[Sequence[Message], str]]) -> RecordedPrompts:
    """What a reader of prompts.csv finds of (messages, answer) requests; worker 0, numbered from 0."""
    hashes = Fingerprints(b"k" * 16)
    lines = [hashes.row(0, i, messages, Answer(text=answer)) for i, (messages, answer) in enumerate(requests)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / schema.PROMPTS_CSV
        path.write_text(schema.header(schema.PROMPT_COLUMNS) + "".join(lines))
        return read_prompts(path)
