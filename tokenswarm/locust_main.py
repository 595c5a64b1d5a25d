"""`python -m tokenswarm.locust_main ...`: Locust's own command line, in the processes that tokenswarm starts.

What differs: an interrupt while it imports, or outside of what Locust itself handles, ends it with one sentence.
"""

from tokenswarm.base.early_signals import as_python_does, end_at_once_by_signals

end_at_once_by_signals()  # first: Locust's imports take a second

import sys

from locust.main import main as locust_main

from tokenswarm.base.errors import Exit
from tokenswarm.base.signals import leave_with_code_of


def main() -> int:
    """Run Locust; it mostly leaves by itself, with its exit code. Returns the code of an interrupt."""
    as_python_does()
    try:
        locust_main()
    except KeyboardInterrupt:
        print("tokenswarm: interrupted", file=sys.stderr)
        return Exit.INTERRUPTED
    return Exit.PASSED


if __name__ == "__main__":
    leave_with_code_of(main)
