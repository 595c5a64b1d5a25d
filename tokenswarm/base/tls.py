"""TLS verification: by the CA file of a description, or by the system's."""

from __future__ import annotations

import os
import ssl
import threading

from tokenswarm.base.files import is_read_once

_KEY_LOG = "SSLKEYLOGFILE"
_AUTHORITIES = "SSL_CERT_FILE"
"""This variable replaces the system's CA file, even if its file cannot be read; then nothing is trusted."""
_lock = threading.Lock()


def client_context(ca_file: str | None = None) -> ssl.SSLContext:
    """A context for connections to servers; `ca_file`: the authorities, in place of the system's. Raises OSError for a
    file that cannot be read as certificates, and for nothing else: the variable by which Python writes the keys of all
    connections into a file is passed over, since a run is what was asked for."""
    if ca_file is not None and is_read_once(ca_file):
        raise OSError("it is a pipe or a device")
    with _lock:
        kept = os.environ.pop(_KEY_LOG, None)
        try:
            return ssl.create_default_context(cafile=ca_file)
        finally:
            if kept is not None:
                os.environ[_KEY_LOG] = kept


def untrusted_hint() -> str:
    """What to do about a certificate that is not trusted, as the end of a sentence. A variable that keeps the system's
    authorities from being read is named."""
    file = os.environ.get(_AUTHORITIES)
    if file is not None and not _can_be_read(file):
        return f"; {_AUTHORITIES}={file} is set, and no certificates can be read there: mend or unset it"
    return f'; name the authority\'s file: SET="endpoint.ca_file=/path/ca.pem" (or {_AUTHORITIES})'


def _can_be_read(file: str) -> bool:
    if is_read_once(file):
        return False
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
    except (OSError, ValueError):
        return False
    return True
