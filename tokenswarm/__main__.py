"""`python -m tokenswarm ...`"""

import sys

from tokenswarm.cli import main

sys.exit(main())
