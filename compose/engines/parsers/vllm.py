"""Run by vLLM's own Python: which of the command lines on stdin (a JSON list) does its real parser refuse?

With --as-typed abbreviated flags count as the engine takes them; else they are refused.
Prints a JSON list: null for an accepted one, else what the parser said.
"""

import argparse
import json
import sys

from vllm.entrypoints.cli.serve import ServeSubcommand

try:
    from vllm.utils.argparse_utils import FlexibleArgumentParser
except ImportError:
    from vllm.utils import FlexibleArgumentParser


class Refused(Exception):
    """What the parser would have printed before it ended the program."""


def _refuse(self: argparse.ArgumentParser, message: str) -> None:
    raise Refused(message)


def main() -> None:
    """Parse each command line from `serve` on."""
    argparse.ArgumentParser.error = _refuse
    as_typed = "--as-typed" in sys.argv
    parser = FlexibleArgumentParser() if as_typed else FlexibleArgumentParser(allow_abbrev=False)
    served = ServeSubcommand().subparser_init(parser.add_subparsers(dest="subparser"))
    served.allow_abbrev = served.allow_abbrev and as_typed
    answers = []
    for args in json.load(sys.stdin):
        try:
            parser.parse_args(args[args.index("serve") :])
            answers.append(None)
        except (Refused, argparse.ArgumentError, ValueError, TypeError) as refusal:
            answers.append(f"{type(refusal).__name__}: {refusal}")
    print("\n" + json.dumps(answers))


if __name__ == "__main__":
    main()
