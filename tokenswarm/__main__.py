"""`python -m tokenswarm ...`, and the `tokenswarm` command."""

from tokenswarm.base.early_signals import end_at_once_by_signals

end_at_once_by_signals()  # first: what is imported from here on takes long enough for a Ctrl-C

from typing import NoReturn

from tokenswarm.base.signals import leave_with_code_of
from tokenswarm.cli import main as run_command


def main() -> NoReturn:
    """The command that the arguments name, to its exit code."""
    leave_with_code_of(run_command)


if __name__ == "__main__":
    main()
