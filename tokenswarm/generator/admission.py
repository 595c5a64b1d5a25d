"""Decides which workers a master admits, and when, and which messages it accepts.

Locust admits any worker, even in the middle of a run. It then moves users, with their requests, from working workers to
one that knows nothing of the run. And a run numbers its prompts by the planned number of workers, so an additional
worker would repeat another's prompts.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from locust.exception import RPCError, RPCReceiveError
from locust.rpc import Message
from locust.rpc.zmqrpc import Server
from locust.runners import MasterRunner

from tokenswarm.generator.locust_seam import replace_function

_log = logging.getLogger(__name__)
CLIENT_READY = "client_ready"
_OF_NEWCOMERS = (CLIENT_READY, "locustfile")
"""The only messages accepted from a worker that has not been admitted."""
_MOST_REMEMBERED, _SHOWN_CHARS = 1000, 60
_lenient_receivers: set[object] = set()


def gate_worker_registration(runner: MasterRunner, closed: Callable[[], str | None]) -> None:
    """Make the master refuse new workers while `closed()` returns a reason. A worker that gets no answer asks again
    every 5 s for 5 minutes, so it is admitted as soon as the reason is gone. A worker that was admitted before may
    register again at any time: Locust forgets a worker whose users have stopped, and that worker registers again while
    the run is still ending.
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

    replace_function(runner, "handle_message", guarded)


def _outlive_garbage() -> None:
    """Keep Locust's listener alive when it receives bytes that are not a Locust message; otherwise the run would end
    for all workers."""
    receive = Server.recv_from_client
    if receive in _lenient_receivers:
        return

    def lenient_receive(server: Server) -> tuple[str, object]:
        while True:
            try:
                client_id, message = receive(server)
                if isinstance(message.type, str) and isinstance(client_id, str):
                    return client_id, message
            except RPCReceiveError:
                pass  # Locust would ask the named sender, perhaps a working worker, to reconnect
            except (RPCError, KeyboardInterrupt):
                raise
            except Exception:
                pass
            _log.warning("the master's port received something that is not a message; it was ignored")

    _lenient_receivers.add(lenient_receive)
    replace_function(Server, "recv_from_client", lenient_receive)
