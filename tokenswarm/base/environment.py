"""Environment variables with which tokenswarm's processes communicate, and those of secrets."""

from __future__ import annotations

import os
import sys
import warnings

RUN_VARIABLE = "TOKENSWARM_RUN"
"""The prepared run folder; set by the command line for its Locust processes."""
LIVE_VARIABLE = "TOKENSWARM_LIVE_FD"
"""The file descriptor on which live figures and phases are reported, as JSON lines."""
METRICS_VARIABLE = "TOKENSWARM_METRICS"
"""HOST:PORT where the Locust process that directs a run serves live metrics."""
UNDER_COMMAND_VARIABLE = "TOKENSWARM_UNDER_COMMAND"
"""Set for the Locust processes that the command line starts: they take no settings from Locust's own files."""
KEY_VARIABLE = "API_KEY"
"""The endpoint's API key. It is read from this variable and never written."""
PASSWORD_VARIABLE = "UI_PASSWORD"
"""The password of the web UI's login. It is read from this variable and never written."""
SECRETS_VARIABLE = "TOKENSWARM_SECRETS"
"""Names of further environment variables with secret values, used in an endpoint's headers."""
UI_HOSTS_VARIABLE = "UI_HOSTS"
"""Additional host names of the web UI, comma-separated."""
SESSION_VARIABLE = "TOKENSWARM_SESSION"
"""Settings for the processes of `tokenswarm ui`, as JSON without secrets; see `generator.ui_session`."""
_OF_ONE_RUN = frozenset({RUN_VARIABLE, LIVE_VARIABLE, SESSION_VARIABLE, UNDER_COMMAND_VARIABLE})
_OF_LIBRARIES = ("LOCUST_", "GEVENT_", "GREENLET_", "LIBEV_", "FLASK_", "WERKZEUG_", "PANDAS_", "NPY_", "SCIPY_")
"""How the variables begin by which the libraries that measure and reckon take orders: another event loop, another
resolver, other limits, other rules for tables. None of them is an order to tokenswarm."""
_OF_PYTHON = frozenset(
    {
        "PYTHONASYNCIODEBUG",
        "PYTHONBREAKPOINT",
        "PYTHONDEBUG",
        "PYTHONDEVMODE",
        "PYTHONDUMPREFS",
        "PYTHONINSPECT",
        "PYTHONINTMAXSTRDIGITS",
        "PYTHONMALLOC",
        "PYTHONMALLOCSTATS",
        "PYTHONOPTIMIZE",
        "PYTHONPERFSUPPORT",
        "PYTHONPROFILEIMPORTTIME",
        "PYTHONSTARTUP",
        "PYTHONTRACEMALLOC",
        "PYTHONVERBOSE",
        "PYTHONWARNINGS",
        "SSLKEYLOGFILE",
    }
)
"""Variables for whoever debugs a Python program: they slow it down, fill standard error, keep it from ending, or turn
a warning of some library into an error; SSLKEYLOGFILE gives the keys of encrypted connections away, and keeps any from
being opened where its file cannot be written. Where Python finds its modules (PYTHONPATH) stays."""
_MOST_DIGITS = 4300
"""Python's default limit on the digits of an integer in text."""


def _is_disturbing(name: str) -> bool:
    return name.startswith(_OF_LIBRARIES) or name in _OF_PYTHON


def without_disturbing() -> dict[str, str]:
    """The environment without the variables by which Locust and other libraries are told what to do, nor those of
    another run of ours: a run is what was asked of us."""
    return {name: value for name, value in os.environ.items() if not _is_disturbing(name) and name not in _OF_ONE_RUN}


def leave_disturbing() -> bool:
    """Drop those variables from this process, before the libraries that read them are imported, and undo what Python
    has made of its own by now. True if Python was told to stay at its end (PYTHONINSPECT), which only a hard exit
    ends."""
    dropped = {name: os.environ.pop(name) for name in list(os.environ) if _is_disturbing(name)}
    if dropped.get("PYTHONWARNINGS"):
        warnings.resetwarnings()
        warnings.simplefilter("ignore")
    if dropped.get("PYTHONINTMAXSTRDIGITS"):
        sys.set_int_max_str_digits(_MOST_DIGITS)
    return bool(dropped.get("PYTHONINSPECT"))
