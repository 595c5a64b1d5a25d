"""Which workers a master lets in, and when.

Locust takes whoever comes, also in the middle of a run: it then moves users, with what they are asking, from the
workers that load to one that knows nothing of the run. And a run that was planned for so many workers numbers its
prompts by them: one more would repeat another's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

_log = logging.getLogger(__name__)
CLIENT_READY = "client_ready"


def gate_worker_registration(runner: Any, closed: Callable[[], str | None]) -> None:
    """From now on the master turns newcomers away while `closed()` gives a reason.

    A worker that gets no answer asks again every 5 s, for 5 minutes: it is let in as soon as the reason is gone. One
    that was let in once may report again at any time: Locust forgets a worker whose users have stopped, and the worker
    asks anew, while the run is still being closed.
    """
    handle, refused, known = runner.handle_message, set(), set(runner.clients)

    def guarded(client_id: str, message: Any) -> None:
        if message.type == CLIENT_READY and client_id not in known:
            if (why := closed()) is not None:
                if client_id not in refused:
                    refused.add(client_id)
                    _log.warning("worker %s is not let in: %s", client_id, why)
                return
            known.add(client_id)
        handle(client_id, message)

    runner.handle_message = guarded
