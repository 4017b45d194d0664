"""Every error that the library raises of its own, and the reason for which a connection closed.

::

    Exception
    ├── HandshakeError               the connection could not be opened
    │   ├── ConnectionFailed         ... as there is no way to the server; an OSError, too
    │   │   └── ProxyFailed          ... or none through the proxy
    │   ├── ConnectionTimeout        ... within `connect_timeout`
    │   ├── TLSFailed                ... as the two sides do not agree about TLS, such as a certificate
    │   ├── ConnectionRejected       ... as the server answered with another status than 101
    │   └── DisconnectionTimeout     the peer did not answer our close within `disconnect_timeout`
    ├── ConnectionClosed             the connection is closed, or closed while the call waited
    ├── ConnectionInterrupted        there is no connection just now, but one is being sought
    ├── PeerSilent                   only as the cause of ConnectionClosed: the heartbeat found nobody there
    └── ProtocolError                only from `trio_websocket.protocol`, or as the cause of the above
        ├── LocalProtocolError       the caller asked for what RFC 6455 forbids
        └── RemoteProtocolError      the peer broke a rule, or went over a limit

Caller's mistakes are ValueError, TypeError or RuntimeError as everywhere in Python.
"""

from __future__ import annotations

import http
import re
from typing import Literal

__all__ = [
    "CloseReason",
    "ConnectionClosed",
    "ConnectionFailed",
    "ConnectionInterrupted",
    "ConnectionRejected",
    "ConnectionTimeout",
    "DisconnectionTimeout",
    "HandshakeError",
    "LocalProtocolError",
    "PeerSilent",
    "ProtocolError",
    "ProxyFailed",
    "RemoteProtocolError",
    "TLSFailed",
]

# RFC 6455 §7.4.1, and the IANA registry of WebSocket close codes for 1012-1014.
_NAMES = {
    1000: "NORMAL_CLOSURE",
    1001: "GOING_AWAY",
    1002: "PROTOCOL_ERROR",
    1003: "UNSUPPORTED_DATA",
    1005: "NO_STATUS_RCVD",
    1006: "ABNORMAL_CLOSURE",
    1007: "INVALID_FRAME_PAYLOAD_DATA",
    1008: "POLICY_VIOLATION",
    1009: "MESSAGE_TOO_BIG",
    1010: "MANDATORY_EXT",
    1011: "INTERNAL_ERROR",
    1012: "SERVICE_RESTART",
    1013: "TRY_AGAIN_LATER",
    1015: "TLS_HANDSHAKE_FAILED",
}


# What a rejection's message shows of its body, in characters, if it is of a type that people can read.
_SHOWN_BODY = 200
_READABLE = re.compile(rb"text/|application/([^;]*\+)?(json|xml)\b", re.IGNORECASE)


class CloseReason:
    """Why a connection closed: a code, its name, and a text for people (RFC 6455 §7.4).

    Args:
        code: The close code. 1005 stands for a close frame without a code, 1006 for a connection that
            ended without a close frame; neither is ever on the wire.
        reason: The text that came with it, at most 123 bytes of UTF-8, or None.

    Two reasons are equal when code and text are.
    """

    __slots__ = ("_code", "_reason")

    def __init__(self, code: int, reason: str | None) -> None:
        self._code = code
        self._reason = reason

    @property
    def code(self) -> int:
        """The close code."""
        return self._code

    @property
    def name(self) -> str:
        """The code's name, or of the range that it lies in (RFC 6455 §7.4.2)."""
        if (name := _NAMES.get(self._code)) is not None:
            return name
        if 0 <= self._code <= 2999:
            return "RFC_RESERVED"
        if 3000 <= self._code <= 3999:
            return "IANA_RESERVED"
        if 4000 <= self._code <= 4999:
            return "PRIVATE_RESERVED"
        return "INVALID_CODE"

    @property
    def reason(self) -> str | None:
        """The text for people, or None."""
        return self._reason

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CloseReason):
            return NotImplemented
        return (self._code, self._reason) == (other._code, other._reason)

    def __hash__(self) -> int:
        return hash((self._code, self._reason))

    def __repr__(self) -> str:
        return f"CloseReason<code={self._code}, name={self.name}, reason={self._reason!a}>"


class HandshakeError(Exception):
    """The connection could not be opened; the message says what failed, `__cause__` has the error behind it.

    Attributes:
        earlier_errors: What went wrong before it, if the library had tried more than once: the oldest first.
        history: The URLs that redirected before it, in their order and without user info.
    """

    earlier_errors: tuple[Exception, ...] = ()
    history: tuple[str, ...] = ()


class ConnectionFailed(HandshakeError, OSError):
    """There is no way to the server: an unknown name, a refused or unreachable address. An `OSError` is the cause."""


class ProxyFailed(ConnectionFailed):
    """The proxy cannot be reached, or gives no way to the server.

    Args:
        message: What it did.
        status_code: The HTTP status that it answered CONNECT with, such as 407 for want of a password, or None.
    """

    def __init__(self, message: str, *, status_code: int | None = None) -> None:
        super().__init__(message)
        self.status_code = status_code


class TLSFailed(HandshakeError):
    """The two sides do not agree about TLS: a certificate is not trusted, or there is no TLS at all at the other end.

    Trying again would not help. A connection that is merely lost while TLS begins is none of these.
    """


class ConnectionTimeout(HandshakeError):
    """The connection was not open within `connect_timeout` seconds."""


class DisconnectionTimeout(HandshakeError):
    """The peer did not answer our close within `disconnect_timeout` seconds; the connection was dropped."""


class ConnectionRejected(HandshakeError):
    """The server answered the opening handshake with another status than 101 (RFC 6455 §4.1).

    Its text has the beginning of the body, escaped, if that is text.

    Args:
        status_code: The HTTP status.
        headers: Its headers: pairs of bytes, lower-case names.
        body: Its body, cut at 64 KiB.
    """

    def __init__(
        self, status_code: int, headers: tuple[tuple[bytes, bytes], ...] | None, body: bytes | None
    ) -> None:
        super().__init__(status_code, headers, body)
        self.status_code = status_code
        self.headers = headers
        self.body = body

    def __repr__(self) -> str:
        return f"{type(self).__name__}<status_code={self.status_code}>"

    def __str__(self) -> str:
        text = f"the server rejected the connection with HTTP status {self.status_code}"
        try:
            text += f" {http.HTTPStatus(self.status_code).phrase}"
        except ValueError:
            # A status of the server's own.
            pass
        body = self._readable_body()
        if body:
            text += f": {body[:_SHOWN_BODY]!r}" + ("..." if len(body) > _SHOWN_BODY else "")
        return text

    def _readable_body(self) -> str:
        headers = dict(self.headers or ())
        if b"content-encoding" in headers or not _READABLE.match(headers.get(b"content-type", b"text/")):
            return ""
        body = self.body or b""
        # What has null bytes is no text, or in no encoding that we read.
        return "" if b"\0" in body else body.decode("utf-8", "replace").strip()


class ConnectionClosed(Exception):
    """The connection is closed, or closed while the call waited.

    `__cause__` has the network, TLS or protocol error that ended it, if one did.

    Args:
        reason: Why it closed: what the peer said, or we, or 1006 when neither could.
        sent: What our close frame said, or None if none was sent.
        received: What the peer's close frame said, or None if none came.
        initiator: Who closed first: `"local"`, `"remote"`, or None if the network did.

    Attributes:
        earlier_errors: What went wrong before it, if the library had connected more than once: the oldest first.
    """

    # On the class, so that a subclass whose __init__ never calls ours has them too.
    reason: CloseReason | None = None
    sent: CloseReason | None = None
    received: CloseReason | None = None
    initiator: Literal["local", "remote"] | None = None
    earlier_errors: tuple[Exception, ...] = ()

    def __init__(
        self,
        reason: CloseReason | None,
        *,
        sent: CloseReason | None = None,
        received: CloseReason | None = None,
        initiator: Literal["local", "remote"] | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.sent = sent
        self.received = received
        self.initiator = initiator

    def __repr__(self) -> str:
        return f"{type(self).__name__}<{self.reason}>"


class ConnectionInterrupted(Exception):
    """There is no connection just now, but one is being sought; `__cause__` ended the last one.

    Only calls on a `ReconnectingWebSocket` with `on_outage="raise"` raise it.
    """


class PeerSilent(Exception):
    """The cause of a `ConnectionClosed` with code 1006: after a heartbeat's ping, nothing came from the peer in time.

    Args:
        silence: Seconds since that ping without a byte.
        interval: The heartbeat's seconds between two pings.
        timeout: The heartbeat's seconds for a sign of life.
    """

    def __init__(self, silence: float, interval: float, timeout: float) -> None:
        super().__init__(silence, interval, timeout)
        self.silence = silence
        self.interval = interval
        self.timeout = timeout

    def __str__(self) -> str:
        return (
            f"nothing came from the peer in the {self.silence:.6g} seconds after a ping"
            f" (heartbeat: interval={self.interval!r}, timeout={self.timeout!r})"
        )


class ProtocolError(Exception):
    """A rule of RFC 6455 was broken."""


class LocalProtocolError(ProtocolError):
    """The caller asked for what RFC 6455 forbids; nothing was sent."""


class RemoteProtocolError(ProtocolError):
    """The peer broke a rule of RFC 6455, or went over a limit of ours.

    Args:
        message: What it did, with the value and the limit.
        code: The close code that it gets (RFC 6455 §7.4.1).
        status_code: In an opening handshake, the HTTP status that it gets, or None.
    """

    def __init__(self, message: str, *, code: int = 1002, status_code: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.status_code = status_code
