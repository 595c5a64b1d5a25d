"""The tab's forms for searches and comparisons, and the commands that they start. Every value comes from a list, never
a path or free text, so a visitor of the page cannot start anything else.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping

from tokenswarm.base.config_text import parse_set
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.foreign import printable
from tokenswarm.contract.engine_title import title_or_name
from tokenswarm.generator.ui_session import UiSession

CAPACITY, COMPARE = "capacity", "compare"
THIS = "this"
"""In a comparison: the engine that this UI was started for."""
NO_END = "none"
BUDGETS = ("5m", "15m", "30m", "1h", "2h", NO_END)
DURATIONS = ("scenario", "20s", "1m", "2m", "5m")
REPEATS = ("1", "2", "3", "4", "5")
_DURATION = "load.duration_s"
_OF_AN_ENGINE = "engine."
_MEASURED = "prompts.chars_per_token"
"""Each command measures this itself."""


def offered(session: UiSession) -> dict[str, object]:
    """The choices, for the page."""
    return {
        "scenario": session.scenarios,
        "chosen": session.scenario,
        "engine": [THIS, *session.engines],
        "titles": session.engine_titles,
        "other": _other(session),
        "this": title_or_name(session.engine.title, session.engine.name) or "",
        "budget": BUDGETS,
        "duration": DURATIONS,
        "repeats": REPEATS,
    }


def _other(session: UiSession) -> str | None:
    """The default engine to compare with; for a simulator, the other style."""
    name = session.engine.name or ""
    others = [each for each in session.engines if each != name]
    alike = [each for each in others if each.partition("-")[0] == name.partition("-")[0]]
    return next(iter([*alike, *others]), None)


def command_of(form: Mapping[str, str], session: UiSession) -> list[str]:
    """The command for a form. Raises UserError (USAGE) for values that are not offered."""
    kind = _one(form, "kind", (CAPACITY, COMPARE))
    scenario = _one(form, "scenario", session.scenarios)
    budget = _one(form, "budget", BUDGETS)
    common = ["--scenario", scenario, "--results", session.results, "--workers", str(max(1, session.workers))]
    if budget != NO_END:
        common += ["--budget", budget]
    if session.corpus:
        common += ["--corpus", session.corpus]
    special = _capacity(session) if kind == CAPACITY else _compare(form, session)
    return [sys.executable, "-m", "tokenswarm", kind, *common, *special]


def _capacity(session: UiSession) -> list[str]:
    return [
        *("--engine", session.engine.name or "external", "--host", session.engine.base_url or ""),
        *("--model", session.model),
        *_settings(session, _OF_AN_ENGINE),
    ]


def _compare(form: Mapping[str, str], session: UiSession) -> list[str]:
    a, b = (_one(form, side, [THIS, *session.engines]) for side in ("a", "b"))
    if a == b:
        raise UserError(Exit.USAGE, "both sides are the same: choose two engines")
    duration, repeats = _one(form, "duration", DURATIONS), _one(form, "repeats", REPEATS)
    names = ",".join((session.engine.name or "external") if side == THIS else side for side in (a, b))
    arguments = ["--engines", names, "--repeats", repeats]
    chosen = duration != DURATIONS[0]
    if chosen:
        arguments += ["--duration", duration]
    for letter, side in (("a", a), ("b", b)):
        if side == THIS:
            arguments += [f"--{letter}-host", session.engine.base_url or "", f"--{letter}-model", session.model]
        elif session.asked_model:
            arguments += [f"--{letter}-model", session.asked_model]
    return [*arguments, *_settings(session, *([_DURATION] if chosen else []))]


def _settings(session: UiSession, *without: str) -> list[str]:
    """The settings with which the UI was started, except those that the form or command sets."""
    words = []
    for key, value in session.overrides.items():
        if key == _MEASURED or key.startswith(without):
            continue
        word = f"{key}={value}"
        if not _is_one_word(word, key, value):
            raise UserError(
                Exit.USAGE, f"{key} was set to {printable(value, 60)!r}, which cannot be handed on from here"
            )
        words.append(word)
    return ["--set", " ".join(words)] if words else []


def _is_one_word(word: str, key: str, value: str) -> bool:
    try:
        return parse_set(word) == {key: value}
    except UserError:
        return False


def _one(form: Mapping[str, str], name: str, known: Collection[str]) -> str:
    value = form.get(name, "")
    if value not in known:
        raise UserError(Exit.USAGE, f"{name} should be one of {', '.join(known)}, not {printable(value, 60)!r}")
    return value
