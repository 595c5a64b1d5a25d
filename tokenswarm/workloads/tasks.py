"""Generators of reasoning tasks whose answer is known: find the bug, arithmetic, logic.

Each is a pure function of (random source, difficulty 1..5). Correctness is by construction, and the tests check it by
running the programs, evaluating the sums and solving the puzzles.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import permutations
from random import Random
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Task:
    """A question, and its answer: a whole number or a single word."""

    kind: str
    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Bug:
    """A small correct function, and lines of it that can be broken: {1-based line number: the broken line}."""

    purpose: str
    lines: tuple[str, ...]
    broken: Mapping[int, str]


PROGRAMS: tuple[Bug, ...] = (
    Bug(
        "return the largest of a non-empty list of numbers",
        (
            "def {f}({xs}):",
            "    {best} = {xs}[0]",
            "    for {x} in {xs}[1:]:",
            "        if {x} > {best}:",
            "            {best} = {x}",
            "    return {best}",
        ),
        {
            2: "    {best} = 0",
            3: "    for {x} in {xs}[1:-1]:",
            4: "        if {x} < {best}:",
            6: "    return {x}",
        },
    ),
    Bug(
        "return the mean of a non-empty list of numbers",
        (
            "def {f}({xs}):",
            "    {best} = 0",
            "    for {x} in {xs}:",
            "        {best} += {x}",
            "    return {best} / len({xs})",
        ),
        {
            2: "    {best} = 1",
            3: "    for {x} in {xs}[1:]:",
            4: "        {best} = {x}",
            5: "    return {best} / (len({xs}) - 1)",
        },
    ),
    Bug(
        "return how many numbers of a list are even",
        (
            "def {f}({xs}):",
            "    {best} = 0",
            "    for {x} in {xs}:",
            "        if {x} % 2 == 0:",
            "            {best} += 1",
            "    return {best}",
        ),
        {
            2: "    {best} = 1",
            4: "        if {x} % 2 == 1:",
            5: "            {best} += {x}",
            6: "    return len({xs})",
        },
    ),
    Bug(
        "return a sorted copy of a list of numbers (insertion sort)",
        (
            "def {f}({xs}):",
            "    {best} = []",
            "    for {x} in {xs}:",
            "        i = 0",
            "        while i < len({best}) and {best}[i] <= {x}:",
            "            i += 1",
            "        {best}.insert(i, {x})",
            "    return {best}",
        ),
        {
            4: "        i = 1",
            5: "        while i < len({best}) and {best}[i] >= {x}:",
            7: "        {best}.append({x})",
            8: "    return {xs}",
        },
    ),
    Bug(
        "return the sum of the positive numbers of a list",
        (
            "def {f}({xs}):",
            "    {best} = 0",
            "    for {x} in {xs}:",
            "        if {x} <= 0:",
            "            continue",
            "        {best} += {x}",
            "    return {best}",
        ),
        {
            4: "        if {x} >= 0:",
            5: "            break",
            6: "        {best} -= {x}",
            7: "    return {best} + 1",
        },
    ),
)
_FUNCTIONS = ("solve", "compute", "evaluate", "work_out", "process", "handle", "digest")
_LISTS = ("values", "numbers", "items", "samples", "readings", "scores")
_ITEMS = ("value", "n", "item", "entry", "current", "element")
_RESULTS = ("result", "total", "answer", "found", "acc", "state")
_NAMES = ("Anna", "Boris", "Clara", "David", "Elena", "Felix", "Greta", "Henry")
_GOODS = ("crates", "boxes", "books", "bolts", "lamps", "tiles", "seeds", "coins")


def bug_task(rng: Random, difficulty: int) -> Task:
    """A function with exactly one wrong line; the answer is that line's number.

    With difficulty, more comments may stand above it, which move the line's number.
    """
    program = rng.choice(PROGRAMS)
    line = rng.choice(sorted(program.broken))
    names = {
        "f": rng.choice(_FUNCTIONS),
        "xs": rng.choice(_LISTS),
        "x": rng.choice(_ITEMS),
        "best": rng.choice(_RESULTS),
    }
    code = [program.broken.get(i, text) if i == line else text for i, text in enumerate(program.lines, start=1)]
    lead = [f"# revision {rng.randrange(100, 1000)}" for _ in range(rng.randrange(difficulty))]
    text = "\n".join(f"{i:2d} | {row.format(**names)}" for i, row in enumerate([*lead, *code], start=1))
    question = (
        f"This Python function should {program.purpose}, but exactly one line is wrong:\n\n{text}\n\n"
        "Which line is wrong? Give its number."
    )
    return Task("bug", question, str(line + len(lead)))


def arithmetic_task(rng: Random, difficulty: int) -> Task:
    """A word problem of `2 + 2 * difficulty` steps over whole numbers; the answer is the final count."""
    goods = rng.choice(_GOODS)
    count = rng.randrange(20, 100)
    story = [f"A store has {count} {goods}."]
    for _ in range(2 + 2 * difficulty):
        step = rng.randrange(4)
        amount = rng.randrange(2, 10)
        if step == 0:
            count += amount * 7
            story.append(f"Then {amount} deliveries of 7 {goods} each arrive.")
        elif step == 1 and count > amount:
            count -= amount
            story.append(f"Then {amount} {goods} are sold.")
        elif step == 2 and count < 10_000:
            count *= 2
            story.append(f"Then the stock of {goods} is doubled.")
        else:
            count -= count // 3
            story.append(f"Then a third of the {goods}, rounded down, is given away.")
    question = " ".join(story) + f" How many {goods} are there in the end?"
    return Task("arithmetic", question, str(count))


def logic_task(rng: Random, difficulty: int) -> Task:
    """People stand in a row; clues leave one order only. The answer is the name of one of them."""
    people = rng.sample(_NAMES, 3 + (difficulty + 1) // 2)
    clues = _clues(people, rng)
    place = rng.randrange(len(people))
    named = ", ".join(sorted(people))
    question = (
        f"{len(people)} people stand in a row: {named}. Place 1 is on the left. " + " ".join(text for text, _ in clues)
    ) + f" Who stands at place {place + 1}?"
    return Task("logic", question, people[place])


Order = tuple[str, ...]


def _clues(people: list[str], rng: Random) -> list[tuple[str, Callable[[Order], bool]]]:
    """Clues about the order `people`, drawn until no other order satisfies them all."""
    left = list(permutations(sorted(people)))
    clues: list[tuple[str, Callable[[Order], bool]]] = []
    while len(left) > 1:
        clue = _clue(people, rng)
        fitting = [order for order in left if clue[1](order)]
        if len(fitting) < len(left):  # a clue that tells nothing new is left out
            clues.append(clue)
            left = fitting
    return clues


def _clue(people: list[str], rng: Random) -> tuple[str, Callable[[Order], bool]]:
    first, second = sorted(rng.sample(range(len(people)), 2))
    a, b = people[first], people[second]
    kind = rng.randrange(3)
    if kind == 0:
        return f"{a} stands somewhere to the left of {b}.", lambda order: order.index(a) < order.index(b)
    if kind == 1 and second == first + 1:
        return f"{a} stands directly to the left of {b}.", lambda order: order.index(b) == order.index(a) + 1
    return f"{a} is not at place {second + 1}.", lambda order: order.index(a) != second


GENERATORS: Mapping[str, Callable[[Random, int], Task]] = MappingProxyType(
    {"bug": bug_task, "arithmetic": arithmetic_task, "logic": logic_task}
)
"""Task generators by kind, the names that `reasoning.tasks` takes."""
