"""`python -m tokenswarm ...`, and the `tokenswarm` command."""

from tokenswarm.base.early_signals import end_at_once_by_signals

end_at_once_by_signals()  # first: what is imported from here on takes long enough for a Ctrl-C

import sys

from tokenswarm.cli import main as main

if __name__ == "__main__":
    sys.exit(main())
