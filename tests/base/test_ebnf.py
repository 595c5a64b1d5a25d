"""Grammars: which texts match, which are generated, and what is not a grammar."""

from __future__ import annotations

from random import Random

import pytest

from tokenswarm.base.ebnf import Grammar, NoGrammar

QUERY = """# a query
root ::= "select " column (", " column)* where?
where ::= " where " column " " ("=" | "<")
    " " [0-9]+
column ::= "title" | "kind"
"""


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("select title", True),
        ("select title, kind, kind", True),
        ("select kind where title < 042", True),
        ("select", False),
        ("select owner", False),
        ("select title,kind", False),
        ("select title where kind = ", False),
        ("select title ", False),
        ("", False),
    ],
)
def test_a_text_fits_if_the_rules_can_make_it(text: str, fits: bool) -> None:
    assert Grammar(QUERY).fits(text) is fits


def test_every_text_that_is_made_fits_and_they_differ() -> None:
    grammar = Grammar(QUERY)
    texts = {grammar.text(Random(seed)) for seed in range(60)}
    assert len(texts) > 15 and all(grammar.fits(text) for text in texts)


def test_rules_may_hold_themselves() -> None:
    nested = Grammar('root ::= "(" root* ")"')
    assert nested.fits("(()(()))") and not nested.fits("(()")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('x ::= "a"', "no rule named root"),
        ("root ::= y", "no rule named y"),
        ('root ::= ("a"', "not closed"),
        ('root ::= "a")', "no opening one"),
        ("hello", "is not a rule"),
        ('root ::= * "a"', "behind nothing"),
        ("root ::= {3}", "cannot be read"),
    ],
)
def test_what_is_no_grammar_is_refused(text: str, why: str) -> None:
    with pytest.raises(NoGrammar, match=why):
        Grammar(text)


def test_a_grammar_without_end_is_refused_when_a_text_is_made() -> None:
    with pytest.raises(NoGrammar, match="for ever"):
        Grammar('root ::= "a" root').text(Random(1))
