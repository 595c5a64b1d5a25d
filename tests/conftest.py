"""For all suites: Locust without its monkey-patching.

Locust patches sockets and threads of whatever process imports it, and under that pytest-xdist's workers come to a stop.
Its processes, which the tests start, are patched as always.
"""

from __future__ import annotations

import os

os.environ["LOCUST_SKIP_MONKEY_PATCH"] = "1"
import locust  # noqa: F401

del os.environ["LOCUST_SKIP_MONKEY_PATCH"]
