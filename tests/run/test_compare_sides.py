"""The two sides of a comparison, from what was typed."""

from __future__ import annotations

import argparse

import pytest

from tokenswarm.cli import _parser
from tokenswarm.commands.compare import _sides

A, B = ["--a-host", "http://a:1"], ["--b-host", "http://b:1"]


def engines(*typed: str) -> tuple[str, str]:
    options: argparse.Namespace = _parser().parse_args(["compare", "--scenario", "rag", *typed])
    a, b = _sides(options, [])
    return a.engine, b.engine


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ([], ("vllm", "sglang")),
        ([*A, *B], ("external", "external")),
        (A, ("external", "sglang")),
        (
            [*A, *B, "--engines", "vllm,sglang"],
            ("vllm", "sglang"),
        ),  # whoever says which they are is believed, and checked
        ([*A, *B, "--engines", "vllm"], ("vllm", "vllm")),
    ],
)
def test_engines_that_were_named_are_never_replaced(typed: list[str], expected: tuple[str, str]) -> None:
    assert engines(*typed) == expected
