"""Grammars in the engines' notation (llama.cpp's GBNF, xgrammar's EBNF): generates and checks matching texts.

Rules are `name ::= ...` with quoted texts, character sets such as [a-z], groups, `|`, and the suffixes `?`, `*`, `+`;
`root` is the start. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from random import Random

from tokenswarm.base.bounded_patterns import TooSlow

_DEEPEST = 40
"""Deepest nesting of rules in a generated text; deeper grammars are rejected as endless."""
_MOST_STEPS = 200_000
"""Most steps to generate or check one text (some tenths of a second): doubly recursive rules would never end."""
_MOST_REPEATS = 3
"""Most repeats of `*` and `+` in a generated text."""
_TOKEN = re.compile(
    r'\s*(?:(?P<name>[A-Za-z_][\w-]*)|"(?P<text>(?:[^"\\]|\\.)*)"|\[(?P<set>(?:[^\]\\]|\\.)*)\]|'
    r"(?P<sign>[()|?*+]))"
)
_RULE = re.compile(r"^\s*([A-Za-z_][\w-]*)\s*::=\s*(.*)$")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


class NoGrammar(ValueError):
    """The text is not a valid grammar; `str()` says why."""


@dataclass(frozen=True, slots=True)
class _Node:
    """A part of a rule. kind: text, set (of characters), rule, all (in sequence), any, or repeat."""

    kind: str
    value: str = ""
    parts: tuple[_Node, ...] = ()
    least: int = 1
    most: int | None = 1


class Grammar:
    """A grammar, parsed from its text. Raises NoGrammar."""

    def __init__(self, text: str) -> None:
        self._rules: dict[str, _Node] = {}
        self._steps = 0
        """State for the text being checked."""
        for line in _joined(text):
            rule = _RULE.match(line)
            if rule is None:
                raise NoGrammar(f'{line.strip()[:60]!r} is not a rule such as: name ::= "text"')
            self._rules[rule[1]] = _Reader(rule[2]).read()
        if "root" not in self._rules:
            raise NoGrammar("it has no rule named root")
        for name in _named(self._rules):
            if name not in self._rules:
                raise NoGrammar(f"it has no rule named {name}")

    def fits(self, text: str) -> bool:
        """Whether the grammar matches the whole text. Raises TooSlow if that takes too many steps."""
        if self._steps <= _MOST_STEPS:  # otherwise it took too long before and is not tried again
            self._steps = 0
        return len(text) in self._ends(self._rules["root"], text, frozenset((0,)), 0)

    def text(self, rng: Random) -> str:
        """A matching text."""
        return self._made(self._rules["root"], rng, 0, [_MOST_STEPS])

    def _ends(self, node: _Node, text: str, starts: frozenset[int], depth: int) -> frozenset[int]:
        """The possible ends of a part that begins at one of `starts`."""
        self._steps += 1
        if self._steps > _MOST_STEPS:
            raise TooSlow("the grammar takes too long on some answers")
        if depth > _DEEPEST or not starts:
            return frozenset()
        if node.kind == "text":
            return frozenset(at + len(node.value) for at in starts if text.startswith(node.value, at))
        if node.kind == "set":
            return frozenset(at + 1 for at in starts if at < len(text) and re.fullmatch(f"[{node.value}]", text[at]))
        if node.kind == "rule":
            return self._ends(self._rules[node.value], text, starts, depth + 1)
        if node.kind == "any":
            return frozenset().union(*(self._ends(part, text, starts, depth) for part in node.parts))
        if node.kind == "all":
            for part in node.parts:
                starts = self._ends(part, text, starts, depth)
            return starts
        return self._repeated(node, text, starts, depth)

    def _repeated(self, node: _Node, text: str, starts: frozenset[int], depth: int) -> frozenset[int]:
        ends = starts if node.least == 0 else frozenset[int]()
        count = 0
        while starts and (node.most is None or count < node.most):
            starts = self._ends(node.parts[0], text, starts, depth) - ends
            count += 1
            if count >= node.least:
                ends |= starts
        return ends

    def _made(self, node: _Node, rng: Random, depth: int, left: list[int]) -> str:
        left[0] -= 1
        if depth > _DEEPEST or left[0] < 0:
            raise NoGrammar("its rules go on for ever")
        if node.kind == "text":
            return node.value
        if node.kind == "set":
            return rng.choice([sign for sign in map(chr, range(32, 127)) if re.fullmatch(f"[{node.value}]", sign)])
        if node.kind == "rule":
            return self._made(self._rules[node.value], rng, depth + 1, left)
        if node.kind == "any":
            return self._made(rng.choice(node.parts), rng, depth, left)
        if node.kind == "all":
            return "".join(self._made(part, rng, depth, left) for part in node.parts)
        most = max(node.least, _MOST_REPEATS) if node.most is None else node.most
        return "".join(self._made(node.parts[0], rng, depth, left) for _ in range(rng.randint(node.least, most)))


def _joined(text: str) -> Iterable[str]:
    """One line per rule, without comments."""
    lines: list[str] = []
    for line in text.splitlines():
        bare = re.sub(r'("(?:[^"\\]|\\.)*")|#.*', lambda match: match[1] or "", line)
        if _RULE.match(bare):
            lines.append(bare)
        elif bare.strip() and lines:
            lines[-1] += " " + bare.strip()
        elif bare.strip():
            lines.append(bare)
    return lines


def _named(rules: Mapping[str, _Node]) -> Iterable[str]:
    """The rules that other rules refer to."""
    waiting = list(rules.values())
    while waiting:
        node = waiting.pop()
        waiting += node.parts
        if node.kind == "rule":
            yield node.value


class _Reader:
    """Parses the right side of a rule."""

    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str]] = []
        place = 0
        while text[place:].strip():
            token = _TOKEN.match(text, place)
            if token is None or not token.lastgroup:
                raise NoGrammar(f"{text[place : place + 20]!r} cannot be read")
            self._tokens.append((token.lastgroup, token[token.lastgroup]))
            place = token.end()
        self._place = 0

    def read(self) -> _Node:
        """Parse all of it."""
        node = self._choice()
        if self._place < len(self._tokens):
            raise NoGrammar("a closing bracket has no opening one")
        return node

    def _sign(self, *signs: str) -> str:
        """Consume and return the next token if it is one of these signs."""
        if self._place < len(self._tokens):
            kind, value = self._tokens[self._place]
            if kind == "sign" and value in signs:
                self._place += 1
                return value
        return ""

    def _choice(self) -> _Node:
        parts = [self._sequence()]
        while self._sign("|"):
            parts.append(self._sequence())
        return parts[0] if len(parts) == 1 else _Node("any", parts=tuple(parts))

    def _sequence(self) -> _Node:
        parts: list[_Node] = []
        while self._place < len(self._tokens) and self._tokens[self._place] not in (("sign", "|"), ("sign", ")")):
            part = self._part()
            if repeats := self._sign("?", "*", "+"):
                part = _Node("repeat", parts=(part,), least=int(repeats == "+"), most=1 if repeats == "?" else None)
            parts.append(part)
        return _Node("all", parts=tuple(parts))

    def _part(self) -> _Node:
        if self._sign("("):
            node = self._choice()
            if not self._sign(")"):
                raise NoGrammar("a bracket is not closed")
            return node
        kind, value = self._tokens[self._place]
        self._place += 1
        if kind == "sign":
            raise NoGrammar(f"{value} stands behind nothing")
        if kind == "text":
            value = re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[1]), value)
        return _Node({"name": "rule"}.get(kind, kind), value)
