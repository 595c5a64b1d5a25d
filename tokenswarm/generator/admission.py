"""Which workers a master lets in, and when; and whom it listens to at all.

Locust takes whoever comes, also in the middle of a run: it then moves users, with what they are asking, from the
workers that load to one that knows nothing of the run. And a run that was planned for so many workers numbers its
prompts by them: one more would repeat another's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from locust.exception import RPCError, RPCReceiveError
from locust.rpc import Message
from locust.rpc.zmqrpc import Server
from locust.runners import MasterRunner

_log = logging.getLogger(__name__)
CLIENT_READY = "client_ready"
_OF_NEWCOMERS = (CLIENT_READY, "locustfile")
"""All that somebody who is not let in yet may say."""
_MOST_REMEMBERED, _SHOWN_CHARS = 1000, 60


def gate_worker_registration(runner: MasterRunner, closed: Callable[[], str | None]) -> None:
    """From now on the master turns newcomers away while `closed()` gives a reason.

    A worker that gets no answer asks again every 5 s, for 5 minutes: it is let in as soon as the reason is gone. One
    that was let in once may report again at any time: Locust forgets a worker whose users have stopped, and the worker
    asks anew, while the run is still being closed.
    """
    handle, refused, known = runner.handle_message, set[str](), set(runner.clients)
    _outlive_garbage()

    def guarded(client_id: str, msg: Message) -> None:
        if msg.node_id != client_id or (client_id not in known and msg.type not in _OF_NEWCOMERS):
            if client_id not in refused and len(refused) < _MOST_REMEMBERED:
                refused.add(client_id)
                _log.warning("a message of %r is ignored: it is not a worker of this run", client_id[:_SHOWN_CHARS])
            return
        if msg.type == CLIENT_READY and client_id not in known:
            if (why := closed()) is not None:
                if client_id not in refused:
                    refused.add(client_id)
                    _log.warning("worker %s is not let in: %s", client_id, why)
                return
            known.add(client_id)
        handle(client_id, msg)

    runner.handle_message = guarded  # type: ignore[method-assign]


def _outlive_garbage() -> None:
    """Locust's listener ends over bytes that are no message of its own, and with it the run of all workers."""
    receive = Server.recv_from_client
    if getattr(receive, "outlives_garbage", False):
        return

    def patient(server: Server) -> tuple[str, object]:
        while True:
            try:
                client_id, message = receive(server)
                if isinstance(message.type, str) and isinstance(client_id, str):
                    return client_id, message
            except RPCReceiveError:
                pass  # it would ask the one named as the sender, a worker perhaps, to connect anew
            except (RPCError, KeyboardInterrupt):
                raise
            except Exception:
                pass
            _log.warning("the master's port received something that is not a message; it was ignored")

    patient.outlives_garbage = True  # type: ignore[attr-defined]
    Server.recv_from_client = patient  # type: ignore[method-assign, assignment]
