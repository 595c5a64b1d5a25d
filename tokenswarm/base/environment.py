"""Names of the environment variables through which tokenswarm's processes speak to each other, and the key's."""

from __future__ import annotations

RUN_VARIABLE = "TOKENSWARM_RUN"
"""The prepared run folder; set by the command line for its Locust processes."""
LIVE_VARIABLE = "TOKENSWARM_LIVE_FD"
"""The file descriptor on which live figures and phases are reported, as JSON lines."""
METRICS_VARIABLE = "TOKENSWARM_METRICS"
"""HOST:PORT at which the Locust process that directs a run serves its live metrics."""
KEY_VARIABLE = "API_KEY"
"""The endpoint's API key. It is read from here and written nowhere."""
