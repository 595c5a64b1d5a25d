"""Free TCP ports of this machine."""

from __future__ import annotations

import socket

from tokenswarm.base.errors import Exit, UserError


def port_is_free(host: str, port: int) -> bool:
    """Whether a server could listen on the port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def free_port(host: str = "127.0.0.1") -> int:
    """A free port, chosen by the system. Raises UserError(Exit.PORT) if there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((host, 0))
        except OSError as error:
            raise UserError(Exit.PORT, f"no free port on {host}: {error.strerror}") from None
        return int(probe.getsockname()[1])


def need_port(host: str, port: int) -> None:
    """Raises UserError(Exit.PORT) when the port is taken."""
    if not port_is_free(host, port):
        raise UserError(Exit.PORT, f"Port {port} on {host} is taken: choose another, or stop what listens there.")
