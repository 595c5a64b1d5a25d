"""Names of the environment variables through which tokenswarm's processes speak to each other, and the key's."""

from __future__ import annotations

import os

RUN_VARIABLE = "TOKENSWARM_RUN"
"""The prepared run folder; set by the command line for its Locust processes."""
LIVE_VARIABLE = "TOKENSWARM_LIVE_FD"
"""The file descriptor on which live figures and phases are reported, as JSON lines."""
METRICS_VARIABLE = "TOKENSWARM_METRICS"
"""HOST:PORT at which the Locust process that directs a run serves its live metrics."""
UNDER_COMMAND_VARIABLE = "TOKENSWARM_UNDER_COMMAND"
"""Set for the Locust processes that the command line starts: they take no settings from Locust's own files."""
KEY_VARIABLE = "API_KEY"
"""The endpoint's API key. It is read from here and written nowhere."""
PASSWORD_VARIABLE = "UI_PASSWORD"
"""The password of the web UI's login. It is read from here and written nowhere."""
SECRETS_VARIABLE = "TOKENSWARM_SECRETS"
"""Names of further environment variables whose values are written nowhere: those that an endpoint's headers take."""
UI_HOSTS_VARIABLE = "UI_HOSTS"
"""Further names under which the web UI may be reached, separated by commas."""
SESSION_VARIABLE = "TOKENSWARM_SESSION"
"""What the processes of `tokenswarm ui` are told, as JSON without secrets; see `generator.ui_session`."""
_OF_LOCUST = "LOCUST_"
_OF_ONE_RUN = frozenset({RUN_VARIABLE, LIVE_VARIABLE, SESSION_VARIABLE, UNDER_COMMAND_VARIABLE})


def without_locust() -> dict[str, str]:
    """The environment without the variables by which Locust is told what to do, nor those of another run of ours: a run
    is what was asked of us."""
    return {
        name: value for name, value in os.environ.items() if not name.startswith(_OF_LOCUST) and name not in _OF_ONE_RUN
    }
