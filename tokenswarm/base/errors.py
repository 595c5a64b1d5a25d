"""Exit codes, and the exception that becomes a sentence for the user.

Every way in which a command can end has a name and a number here, and only here.
"""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of `python -m tokenswarm`, each with its `meaning`. Part of the interface: never reuse a number.

    1 is left to Python, which ends so where even the last handler could not run."""

    meaning: str

    def __new__(cls, value: int, meaning: str = "") -> Exit:
        member = int.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    PASSED = 0, "the run is valid and every SLO was met, or the command did what it was asked"
    USAGE = 2, "a flag, a scenario, a key or a value is wrong"
    SLO_MISSED = 3, "the run is valid, but a gate was missed"
    INVALID = 4, "the load generator was the bottleneck: the figures must not be trusted"
    REQUESTS_FAILED = 5, "no request succeeded, also where none ended"
    INCOMPLETE = 6, "rows or run.json are missing, or the run is still going: the figures are not those of a whole run"
    OVERLOADED = 7, "the engine did not keep up with the arrivals: its figures depend on how long the run was"
    UNDETERMINED = 8, "strictly judged: no gate was missed, but one is undetermined"
    ENDPOINT = 10, "the endpoint cannot be reached, or does not speak the API"
    MODEL = 11, "the endpoint does not serve this model"
    AUTH = 12, "the endpoint refuses the API key"
    ENGINE = 13, "the engine could not be started, or died"
    PORT = 14, "a port that is needed is taken"
    RESULTS = 15, "the results folder cannot be written, or the disk is full"
    CORPUS = 16, "the corpus cannot be read or holds too little text"
    RUN_FOLDER = 17, "the run folder is missing or not readable as one"
    LOAD_GENERATOR = 18, "the load generator ended before the run did"
    ENDED_EARLY = 19, "the run ended early for an unknown reason; its process may have died"
    TOO_MANY_ERRORS = 20, "soak: too many requests failed, so the run was ended (abort.error_rate)"
    ENGINE_GONE = 21, "soak: the engine ended or stayed away, so the run was ended (abort.silence_s)"
    DISK_NEARLY_FULL = 22, "soak: the disk is nearly full, so the run was ended (abort.disk_free_mb)"
    DATA = 23, "a trace or data set cannot be read, or is of no known format"
    MEMORY = 24, "this machine, or a limit on the process, has too little memory"
    INTERNAL = 70, "a bug in tokenswarm: please report it with the log"
    INTERRUPTED = 130, "Ctrl-C or SIGTERM: what was measured is kept"


class UserError(Exception):
    """An error that the user can fix. `str(error)` is one sentence: what is wrong, where, and what to do."""

    def __init__(self, code: Exit, message: str) -> None:
        super().__init__(message)
        self.code = code
