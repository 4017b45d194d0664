"""A client's TLS over a connection, and what is said when there is none."""

from __future__ import annotations

import ssl

from trio_websocket._exceptions import HandshakeError
from trio_websocket._transports import TlsTransport, Transport

__all__ = ["start_tls"]

# OpenSSL's words, before 3.2 and since, for what is no TLS record; Python has a `reason` for the former only.
_NO_RECORD = ("wrong version number", "record layer failure")


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
        HandshakeError: TLS failed.

    If cancelled, or on an error, the transport is closed.
    """
    # RFC 6066 §3: the name is sent without a trailing dot; certificates have none either.
    tls = TlsTransport(transport, context, server_side=False, server_hostname=host.rstrip("."))
    try:
        await tls.do_handshake()
    except (ssl.SSLError, ValueError) as error:
        # A ValueError: a name that TLS can't send.
        raise HandshakeError(f"TLS handshake with {host} port {port} failed: {_explain(error)}") from error
    return tls


def _explain(error: ssl.SSLError | ValueError) -> str:
    text = str(error)
    if isinstance(error, ssl.SSLEOFError) and error.__cause__ is not None:
        lost = error.__cause__
        return f"{text}: {lost.__cause__ or lost}"
    if any(reason in text for reason in _NO_RECORD):
        return f"{text}; the peer does not seem to speak TLS"
    return text
