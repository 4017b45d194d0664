"""The tree of errors, and the reason for which a connection closed."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

import trio_websocket
from trio_websocket import _exceptions
from trio_websocket._exceptions import (
    CloseReason,
    ConnectionClosed,
    ConnectionFailed,
    ConnectionInterrupted,
    ConnectionRejected,
    ConnectionTimeout,
    DisconnectionTimeout,
    HandshakeError,
    LocalProtocolError,
    PeerSilent,
    ProtocolError,
    ProxyFailed,
    RemoteProtocolError,
    TLSFailed,
)

TREE = [
    (HandshakeError, (Exception,)),
    (ConnectionFailed, (HandshakeError, OSError)),
    (ProxyFailed, (ConnectionFailed,)),
    (TLSFailed, (HandshakeError,)),
    (ConnectionTimeout, (HandshakeError,)),
    (ConnectionRejected, (HandshakeError,)),
    (DisconnectionTimeout, (HandshakeError,)),
    (ConnectionClosed, (Exception,)),
    (ConnectionInterrupted, (Exception,)),
    (PeerSilent, (Exception,)),
    (ProtocolError, (Exception,)),
    (LocalProtocolError, (ProtocolError,)),
    (RemoteProtocolError, (ProtocolError,)),
]


@pytest.mark.parametrize(("error", "bases"), TREE)
def test_the_tree_is_the_one_that_is_drawn(
    error: type[Exception], bases: tuple[type[Exception], ...]
) -> None:
    assert error.__bases__ == bases


def test_the_tree_holds_every_error() -> None:
    assert {error.__name__ for error, _ in TREE} | {"CloseReason"} == set(_exceptions.__all__)


def test_users_of_connections_find_their_errors_at_the_top() -> None:
    for name in set(_exceptions.__all__) - {"LocalProtocolError", "ProtocolError", "RemoteProtocolError"}:
        assert getattr(trio_websocket, name) is getattr(_exceptions, name)


# -------------------------------------------------------------------------------------------------------- CloseReason


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (1000, "NORMAL_CLOSURE"),
        (1001, "GOING_AWAY"),
        (1002, "PROTOCOL_ERROR"),
        (1003, "UNSUPPORTED_DATA"),
        (1005, "NO_STATUS_RCVD"),
        (1006, "ABNORMAL_CLOSURE"),
        (1007, "INVALID_FRAME_PAYLOAD_DATA"),
        (1008, "POLICY_VIOLATION"),
        (1009, "MESSAGE_TOO_BIG"),
        (1010, "MANDATORY_EXT"),
        (1011, "INTERNAL_ERROR"),
        (1012, "SERVICE_RESTART"),
        (1013, "TRY_AGAIN_LATER"),
        (1015, "TLS_HANDSHAKE_FAILED"),
        (0, "RFC_RESERVED"),
        (999, "RFC_RESERVED"),
        (1004, "RFC_RESERVED"),
        (1016, "RFC_RESERVED"),
        (2999, "RFC_RESERVED"),
        (3000, "IANA_RESERVED"),
        (3999, "IANA_RESERVED"),
        (4000, "PRIVATE_RESERVED"),
        (4999, "PRIVATE_RESERVED"),
        (5000, "INVALID_CODE"),
        (65535, "INVALID_CODE"),
        (-1, "INVALID_CODE"),
    ],
)
def test_a_code_has_the_name_of_its_own_or_of_its_range(code: int, name: str) -> None:
    assert CloseReason(code, None).name == name


def test_a_close_reason_has_a_code_and_a_text() -> None:
    reason = CloseReason(code=4000, reason="because")
    assert (reason.code, reason.reason) == (4000, "because")
    assert CloseReason(4000, None).reason is None


@pytest.mark.parametrize("name", ["code", "name", "reason", "other"])
def test_a_close_reason_is_frozen(name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(CloseReason(1000, None), name, 1)


def test_close_reasons_are_equal_when_code_and_text_are() -> None:
    reason = CloseReason(1000, "bye")
    assert reason == CloseReason(1000, "bye")
    assert hash(reason) == hash(CloseReason(1000, "bye"))
    assert reason != CloseReason(1001, "bye")
    assert reason != CloseReason(1000, None)
    assert reason != (1000, "bye")
    assert len({reason, CloseReason(1000, "bye"), CloseReason(1000, None)}) == 2


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        (CloseReason(1000, None), "CloseReason<code=1000, name=NORMAL_CLOSURE, reason=None>"),
        (
            CloseReason(4001, "né\n\x1b[31m"),
            r"CloseReason<code=4001, name=PRIVATE_RESERVED, reason='n\xe9\n\x1b[31m'>",
        ),
    ],
)
def test_a_close_reason_shows_itself_escaped(reason: CloseReason, shown: str) -> None:
    assert repr(reason) == str(reason) == shown


# ---------------------------------------------------------------------------------------------------- ConnectionClosed


def test_connection_closed_tells_who_said_what() -> None:
    sent, received = CloseReason(1000, None), CloseReason(1001, "bye")
    error = ConnectionClosed(received, sent=sent, received=received, initiator="remote")
    assert error.reason is error.received is received
    assert error.sent is sent
    assert error.initiator == "remote"


def test_connection_closed_needs_only_a_reason() -> None:
    error = ConnectionClosed(None)
    assert error.reason is None
    assert error.sent is None
    assert error.received is None
    assert error.initiator is None
    assert error.__cause__ is None


def test_connection_closed_shows_its_reason() -> None:
    error = ConnectionClosed(CloseReason(1001, "bye"))
    assert str(error) == "CloseReason<code=1001, name=GOING_AWAY, reason='bye'>"
    assert repr(error) == f"ConnectionClosed<{error}>"
    assert repr(ConnectionClosed(None)) == "ConnectionClosed<None>"


def test_a_subclass_that_never_calls_our_init_works() -> None:
    class GoneError(ConnectionClosed):
        def __init__(self, who: str) -> None:
            self.who = who

    error = GoneError("peer")
    assert error.who == "peer"
    assert (error.reason, error.sent, error.received, error.initiator) == (None, None, None, None)
    assert repr(error) == "GoneError<None>"
    assert str(error) == "peer"


# ---------------------------------------------------------------------------------------------------- ConnectionFailed


def test_connection_failed_is_an_os_error_with_a_text_and_no_number() -> None:
    error = ConnectionFailed("cannot connect to localhost port 1: refused")
    assert str(error) == "cannot connect to localhost port 1: refused"
    assert error.errno is None


# ---------------------------------------------------------------------------------------------------------- PeerSilent


def test_peer_silent_says_how_long_and_with_which_heartbeat() -> None:
    error = PeerSilent(10.0004, 20, 10.0)
    assert (error.silence, error.interval, error.timeout) == (10.0004, 20, 10.0)
    assert str(error) == (
        "nothing came from the peer in the 10.0004 seconds after a ping (heartbeat: interval=20, timeout=10.0)"
    )


# -------------------------------------------------------------------------------------------------- ConnectionRejected


def test_connection_rejected_has_what_the_server_answered() -> None:
    error = ConnectionRejected(404, ((b"a", b"b"),), b"body")
    assert (error.status_code, error.headers, error.body) == (404, ((b"a", b"b"),), b"body")
    assert repr(error) == "ConnectionRejected<status_code=404>"


def test_a_subclass_of_connection_rejected_shows_its_own_name() -> None:
    class NotFoundError(ConnectionRejected):
        pass

    assert repr(NotFoundError(404, None, None)) == "NotFoundError<status_code=404>"


@pytest.mark.parametrize(
    ("body", "tail"),
    [
        (None, ""),
        (b"", ""),
        (b"not here\n", ": 'not here'"),
        (b"\x1b[31m\xff\xe2\x80\xae\xc3\xa9", ": '\\x1b[31m\ufffd\\u202eé'"),
        (b" \r\n", ""),
        (b"x" * 200, f": '{'x' * 200}'"),
        (b"x" * 201, f": '{'x' * 200}'..."),
    ],
)
def test_connection_rejected_shows_the_status_and_the_beginning_of_the_body(
    body: bytes | None, tail: str
) -> None:
    text = str(ConnectionRejected(404, None, body))
    assert text == f"the server rejected the connection with HTTP status 404 Not Found{tail}"


@pytest.mark.parametrize(
    ("content_type", "is_shown"),
    [
        (b"text/html; charset=utf-8", True),
        (b"TEXT/plain", True),
        (b"application/json", True),
        (b"application/problem+json; charset=utf-8", True),
        (b"application/xhtml+xml", True),
        (b"application/octet-stream", False),
        (b"application/jsonx", False),
        (b"image/png", False),
        (b"", False),
    ],
)
def test_connection_rejected_shows_only_what_people_can_read(content_type: bytes, is_shown: bool) -> None:
    assert ("body" in str(ConnectionRejected(404, ((b"content-type", content_type),), b"body"))) == is_shown


def test_connection_rejected_shows_no_body_that_is_encoded() -> None:
    headers = ((b"content-encoding", b"gzip"), (b"content-type", b"text/plain"))
    assert "body" not in str(ConnectionRejected(404, headers, b"body"))


def test_connection_rejected_does_not_show_a_body_that_only_claims_to_be_text() -> None:
    for body in (b"body\0\x01", "body".encode("utf-16")):
        assert str(ConnectionRejected(404, None, body)).endswith("HTTP status 404 Not Found")


def test_connection_rejected_knows_no_phrase_for_a_status_of_the_servers_own() -> None:
    assert str(ConnectionRejected(799, None, b"why")).endswith("HTTP status 799: 'why'")


# ------------------------------------------------------------------------------------------------ RemoteProtocolError


def test_a_remote_protocol_error_is_1002_unless_it_says_more() -> None:
    error = RemoteProtocolError("bad frame")
    assert (str(error), error.code, error.status_code) == ("bad frame", 1002, None)
    error = RemoteProtocolError("bad request", code=1007, status_code=400)
    assert (str(error), error.code, error.status_code) == ("bad request", 1007, 400)


# ------------------------------------------------------------------------------------------------------------- copies


@pytest.mark.parametrize(
    "value",
    [
        CloseReason(4000, "because"),
        HandshakeError("why"),
        ConnectionFailed("why"),
        ProxyFailed("why", status_code=407),
        TLSFailed("why"),
        ConnectionTimeout("why"),
        DisconnectionTimeout("why"),
        ConnectionRejected(404, ((b"a", b"b"),), b"body"),
        ConnectionClosed(CloseReason(1000, None), sent=CloseReason(1001, "x"), initiator="local"),
        LocalProtocolError("why"),
        PeerSilent(12.5, 20, 10),
        RemoteProtocolError("why", code=1009, status_code=400),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_raised_can_go_to_another_process(value: Any) -> None:
    for twin in (pickle.loads(pickle.dumps(value)), copy.copy(value)):
        assert type(twin) is type(value)
        assert repr(twin) == repr(value)
        assert str(twin) == str(value)
        if isinstance(value, Exception):
            assert vars(twin) == vars(value)
        else:
            assert twin == value
