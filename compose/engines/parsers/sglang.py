"""Run by SGLang's own Python: which of the command lines on stdin (a JSON list) does its real parser refuse?

With --as-typed abbreviated flags (--tp) count as the engine takes them; else they are refused.
Prints a JSON list: null for an accepted one, else what the parser said.
"""

import argparse
import json
import sys

from sglang.srt.server_args import ServerArgs


class Refused(Exception):
    """What the parser would have printed before it ended the program."""


def _refuse(self: argparse.ArgumentParser, message: str) -> None:
    raise Refused(message)


def main() -> None:
    """Parse what follows the module's name in each command line."""
    argparse.ArgumentParser.error = _refuse
    parser = argparse.ArgumentParser() if "--as-typed" in sys.argv else argparse.ArgumentParser(allow_abbrev=False)
    ServerArgs.add_cli_args(parser)
    answers = []
    for args in json.load(sys.stdin):
        try:
            parser.parse_args(args[args.index("sglang.launch_server") + 1 :])
            answers.append(None)
        except (Refused, argparse.ArgumentError, ValueError, TypeError) as refusal:
            answers.append(f"{type(refusal).__name__}: {refusal}")
    print("\n" + json.dumps(answers))


if __name__ == "__main__":
    main()
