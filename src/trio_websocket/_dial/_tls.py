"""A client's TLS over a connection, and what is said when there is none."""

from __future__ import annotations

import functools
import os
import ssl
from collections.abc import Callable

from trio_websocket._exceptions import HandshakeError, TLSFailed
from trio_websocket._transports import TlsTransport, Transport, explain_tls

__all__ = ["default_context", "start_tls"]


def default_context() -> ssl.SSLContext:
    """Python's default context for a client, which all connections share until another one would be made.

    To read the authorities takes up to a tenth of a second, in which no other task runs.
    """
    paths = ssl.get_default_verify_paths()
    # The class is another one after truststore.inject_into_ssl().
    return _make_context(
        ssl.create_default_context,
        ssl.SSLContext,
        paths,
        _changed(paths.cafile),
        _changed(paths.capath),
        os.environ.get("SSLKEYLOGFILE"),
    )


@functools.lru_cache(maxsize=1)
def _make_context(make: Callable[[], ssl.SSLContext], *_made_from: object) -> ssl.SSLContext:
    return make()


def _changed(path: str | None) -> int | None:
    """When a file was changed; None if there is none."""
    try:
        return None if path is None else os.stat(path).st_mtime_ns
    except OSError:
        return None


async def start_tls(transport: Transport, host: str, port: int, context: ssl.SSLContext) -> Transport:
    """Shake hands with TLS over `transport`, which is the result's from now on.

    Args:
        transport: Leads to the peer; nobody owns it yet.
        host: Whom the peer's certificate has to name.
        port: Where that is, for the error.
        context: A client's.

    Returns:
        The transport to use in its place.

    Raises:
        TLSFailed: The two sides do not agree, or `host` is no name that TLS can send.
        HandshakeError: The connection was lost.

    If cancelled, or on an error, the transport is closed.
    """
    # RFC 6066 §3: the name is sent without a trailing dot; certificates have none either.
    tls = TlsTransport(transport, context, server_side=False, server_hostname=host.rstrip("."))
    try:
        await tls.do_handshake()
    except (ssl.SSLError, ValueError) as error:
        kind = HandshakeError if isinstance(error, ssl.SSLEOFError) else TLSFailed
        raise kind(f"TLS handshake with {host} port {port} failed: {explain_tls(error, 'server')}") from error
    return tls
