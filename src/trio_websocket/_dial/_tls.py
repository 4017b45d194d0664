"""A client's TLS over a connection, and what is said when there is none."""

from __future__ import annotations

import ssl

from trio_websocket._exceptions import HandshakeError, TLSFailed
from trio_websocket._transports import TlsTransport, Transport, explain_tls

__all__ = ["start_tls"]


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
