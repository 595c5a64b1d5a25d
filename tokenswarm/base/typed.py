"""Reports command-line errors in the words that were typed: the option, and its make variable."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn, TypeAlias

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.base.sentences import in_a_row, probably_meant

OPTIONS_OF_KEYS = {
    "load.users": "--users",
    "load.spawn_rate": "--spawn-rate",
    "load.rate": "--rate",
    "load.duration_s": "--duration",
    "prompts.seed": "--seed",
    "endpoint.preset": "--endpoint",
}
"""Options that are shorthands for scenario values."""
OTHER_VARIABLES = {"claims --gpus": "GPU_COUNT", "profile --scenario": "TO", "profile FILE": "DATA"}
"""By command and option (or position): make variables whose names differ from the option's."""
NO_VARIABLE = frozenset(
    {
        "--a",
        "--any-clocks",
        "--any-verdict",
        "--b",
        "--bad-rows",
        "--container",
        "--follow",
        "--frequent-model-changes",
        "--gate",
        "--html",
        "--json",
        "--kind",
        "--label-a",
        "--label-b",
        "--labelled",
        "--limit",
        "--lines",
        "--master",
        "--mixed-hardware",
        "--no-dashboard",
        "--output",
        "--planned-pairs",
        "--port",
        "--published-on",
        "--quiet",
        "--root",
        "--seconds",
        "--summary-every",
        "--tolerance",
        "claims --host",
        "profile --format",
    }
)
"""Options, of all commands or of one, that no Makefile target passes on."""
Commands: TypeAlias = "argparse._SubParsersAction[CommandParser]"
"""The parsers to which a command adds its own."""
_KINDS = {"int": "a whole number"}
"""Names for values of a type; other types that argparse names by their function are numbers."""


def name_of(option: str, command: str) -> str:
    """`RATE (--rate)`; the option alone where no target passes it on. `command`: `load`, `engine up`."""
    if option in NO_VARIABLE or f"{command} {option}" in NO_VARIABLE:
        return option
    variable = OTHER_VARIABLES.get(f"{command} {option}")
    if not option.startswith("--"):
        return variable or option
    return f"{variable or option[2:].replace('-', '_').upper()} ({option})"


def as_typed(sentence: str, arguments: Sequence[str]) -> str:
    """The sentence with the typed option and its make variable in place of the internal key."""
    names = {word.partition("=")[0] for word in arguments}
    for key, option in OPTIONS_OF_KEYS.items():
        by_hand = any(f"{key}=" in word for word in arguments)
        if option in names and not by_hand:
            shown = name_of(option, arguments[0])
            sentence = re.sub(rf"(SET: )?\b{re.escape(key)}\b", shown, sentence, count=1)
    return sentence


class CommandParser(argparse.ArgumentParser):
    """Says in one sentence what is wrong: raises UserError (USAGE) where argparse prints its usage and ends.

    `by_make`: whether the options of this command are variables of make."""

    def __init__(self, *args: Any, by_make: bool = True, **more: Any) -> None:
        super().__init__(*args, **more)
        self._by_make = by_make

    def error(self, message: str) -> NoReturn:
        raise UserError(Exit.USAGE, self._in_words(message))

    def parse_args(self, args: Any = None, namespace: object = None) -> Any:
        options, left = self.parse_known_args(args, namespace)
        if left:
            raise UserError(Exit.USAGE, self._unknown(left[0], [] if args is None else list(args)))
        return options

    def _command(self) -> str:
        return self.prog.partition("tokenswarm ")[2] or self.prog.rpartition(" ")[2]

    def _name(self, option: str) -> str:
        return name_of(option, self._command()) if self._by_make else option

    def _in_words(self, message: str) -> str:
        of_one = re.fullmatch(r"argument ([^:\s]+): (.*)", message, re.DOTALL)
        if of_one is not None:
            return self._wrong_value(self._name(of_one[1].partition("/")[0]), of_one[2])
        if (missing := message.partition("arguments are required: ")[2]) != "":
            needed = " and ".join(self._name(each) for each in missing.split(", "))
            return f"{self._command()} needs {needed}; {self._help()}"
        return f"{message}; {self._help()}"

    def _wrong_value(self, name: str, what: str) -> str:
        if (of_kind := re.fullmatch(r"invalid (\w+) value: '(.*)'", what, re.DOTALL)) is not None:
            return f"{name} is '{of_kind[2]}', but should be {_KINDS.get(of_kind[1], 'a number')}"
        if (choice := re.fullmatch(r"invalid choice: (.*) \(choose from (.*)\)", what, re.DOTALL)) is not None:
            value, known = choice[1].strip("'"), [each.strip("'") for each in choice[2].split(", ")]
            hint = _hint(value, known)
            if name in ("COMMAND", "VERB"):
                return f"there is no command {value!r}{hint}; {self._help()}"
            return f"{name} is '{value}', but should be {in_a_row(known, 'or')}{hint if len(known) > 3 else ''}"
        return f"{name} needs a value" if what == "expected one argument" else f"{name}: {what}"

    def _unknown(self, word: str, typed: list[str]) -> str:
        parser = self._parser_of(typed)
        option = word.partition("=")[0]
        if not option.startswith("-"):
            return f"{parser._command()} does not know what to do with '{word}'; {parser._help()}"
        hint = _hint(option, [each for each in parser._option_string_actions if each.startswith("--")])
        return f"{parser._command()} has no option {option}{hint}; {parser._help()}"

    def _parser_of(self, typed: list[str]) -> CommandParser:
        """The parser of the command and its verb in these words."""
        parser = self
        for word in typed:
            groups = [each for each in parser._actions if isinstance(each, argparse._SubParsersAction)]
            chosen = groups[0].choices.get(word) if groups else None
            if not isinstance(chosen, CommandParser):
                break
            parser = chosen
        return parser

    def _help(self) -> str:
        return f"{self.prog} --help lists what it takes"


def _hint(value: str, known: Iterable[str]) -> str:
    meant = probably_meant(value, known)
    return f" (did you mean {meant}?)" if meant else ""
