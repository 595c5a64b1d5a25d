"""Exit codes, and the one exception that becomes a sentence for the user.

Every way in which a command can end has a name and a number here, and nowhere else.
"""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of `python -m tokenswarm`. The numbers are part of the interface: never reuse one."""

    PASSED = 0
    INTERNAL = 1
    """A bug in tokenswarm: please report it with the log."""
    USAGE = 2
    """A flag, a scenario, a key or a value is wrong."""
    SLO_MISSED = 3
    """The run is valid, but a gate of the scenario's [slo] was missed."""
    INVALID = 4
    """The load generator was the bottleneck: the figures must not be trusted."""
    REQUESTS_FAILED = 5
    """No request succeeded."""
    ENDPOINT = 10
    """The endpoint cannot be reached, or does not speak the API."""
    MODEL = 11
    """The endpoint does not serve this model."""
    AUTH = 12
    """The endpoint refuses the API key."""
    ENGINE = 13
    """The engine could not be started, or died."""
    PORT = 14
    """A port that is needed is taken."""
    RESULTS = 15
    """The results folder cannot be written, or the disk is full."""
    CORPUS = 16
    """The corpus cannot be read or holds too little text."""
    RUN_FOLDER = 17
    """The run folder is missing or not readable as one."""
    LOAD_GENERATOR = 18
    """The load generator ended before the run did."""
    INTERRUPTED = 130
    """Ctrl-C: what was measured is kept."""


class UserError(Exception):
    """Something the user can mend. `str(error)` is one sentence: what is wrong, where, and what to do."""

    def __init__(self, code: Exit, message: str) -> None:
        super().__init__(message)
        self.code = code
