"""The public surface: names, signatures, defaults, docstrings."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterable, Callable
from typing import Any

import pytest
import trio

import trio_websocket
from trio_websocket import Backoff, WebSocketConnection, WebSocketRequest, WebSocketServer

REQUIRED = inspect.Parameter.empty

H = {"subprotocols": None, "extra_headers": None}
Q = {"message_queue_size": 1, "max_message_size": 2**20, "receive_buffer_size": 4096}
TIMEOUTS = {"connect_timeout": 60, "disconnect_timeout": 60}
NEW = {
    "message_queue_bytes": 2**20,
    "write_backlog": 2**16,
    "max_fragments": 2**16,
    "max_streamed_size": None,
    "compression": None,
    "heartbeat": None,
}
ROUTE = {"proxy": None, "max_redirects": 0, "cookies": None}
STARTED = {"task_status": trio.TASK_STATUS_IGNORED}

NAMES = {
    "Backoff",
    "CloseReason",
    "ConnectionClosed",
    "ConnectionFailed",
    "ConnectionInterrupted",
    "ConnectionRejected",
    "ConnectionTimeout",
    "DisconnectionTimeout",
    "Endpoint",
    "HandshakeError",
    "TLSFailed",
    "Heartbeat",
    "MessageParts",
    "Outage",
    "PeerSilent",
    "PerMessageDeflate",
    "ProxyFailed",
    "ReconnectingWebSocket",
    "WebSocketConnection",
    "WebSocketRequest",
    "WebSocketServer",
    "WebSocketStream",
    "connect_websocket",
    "connect_websocket_url",
    "is_worth_retrying",
    "open_reconnecting_websocket_url",
    "open_websocket",
    "open_websocket_url",
    "run_websocket_url",
    "serve_websocket",
    "serve_websocket_unix",
    "wrap_client_stream",
    "wrap_server_stream",
}

SIGNATURES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    # name: what may be positional, what is keyword-only
    "open_websocket": (
        {"host": REQUIRED, "port": REQUIRED, "resource": REQUIRED},
        {"use_ssl": REQUIRED, **H, **Q, **TIMEOUTS, **NEW, **ROUTE},
    ),
    "open_websocket_url": (
        {"url": REQUIRED, "ssl_context": None},
        {**H, **Q, **TIMEOUTS, **NEW, **ROUTE},
    ),
    "connect_websocket": (
        {"nursery": REQUIRED, "host": REQUIRED, "port": REQUIRED, "resource": REQUIRED},
        {"use_ssl": REQUIRED, **H, **Q, **NEW, **ROUTE},
    ),
    "connect_websocket_url": (
        {"nursery": REQUIRED, "url": REQUIRED, "ssl_context": None},
        {**H, **Q, **NEW, **ROUTE},
    ),
    "wrap_client_stream": (
        {"nursery": REQUIRED, "stream": REQUIRED, "host": REQUIRED, "resource": REQUIRED},
        {**H, **Q, **NEW},
    ),
    "wrap_server_stream": ({"nursery": REQUIRED, "stream": REQUIRED, **Q}, NEW),
    "serve_websocket": (
        {"handler": REQUIRED, "host": REQUIRED, "port": REQUIRED, "ssl_context": REQUIRED},
        {"handler_nursery": None, **Q, **TIMEOUTS, **NEW, **STARTED},
    ),
    "serve_websocket_unix": (
        {"handler": REQUIRED, "path": REQUIRED},
        {"mode": 0o600, "handler_nursery": None, **Q, **TIMEOUTS, **NEW, **STARTED},
    ),
    "WebSocketServer": (
        {"handler": REQUIRED, "listeners": REQUIRED},
        {"ssl_context": None, "handler_nursery": None, **Q, **TIMEOUTS, **NEW},
    ),
    "run_websocket_url": (
        {"session": REQUIRED, "url": REQUIRED, "ssl_context": None},
        {"backoff": Backoff(), "should_retry": None},
    ),
    "open_reconnecting_websocket_url": (
        {"url": REQUIRED, "ssl_context": None},
        {"on_connect": None, "on_outage": "wait", "backoff": Backoff(), "should_retry": None},
    ),
    "ReconnectingWebSocket.aclose": ({"code": 1000, "reason": None}, {}),
    "ReconnectingWebSocket.get_message": ({}, {}),
    "ReconnectingWebSocket.ping": ({"payload": None}, {}),
    "ReconnectingWebSocket.send_message": ({"message": REQUIRED}, {"compress": None}),
    "ReconnectingWebSocket.wait_connected": ({}, {}),
    "is_worth_retrying": ({"error": REQUIRED}, {}),
    "Endpoint": ({"address": REQUIRED, "port": REQUIRED, "is_ssl": REQUIRED}, {}),
    "CloseReason": ({"code": REQUIRED, "reason": REQUIRED}, {}),
    "ConnectionClosed": ({"reason": REQUIRED}, {"sent": None, "received": None, "initiator": None}),
    "ProxyFailed": ({"message": REQUIRED}, {"status_code": None}),
    "ConnectionRejected": ({"status_code": REQUIRED, "headers": REQUIRED, "body": REQUIRED}, {}),
    "WebSocketServer.run": ({}, STARTED),
    "WebSocketRequest.accept": ({}, {"subprotocol": None, "extra_headers": None}),
    "WebSocketRequest.reject": ({"status_code": REQUIRED}, {"extra_headers": None, "body": None}),
    "WebSocketConnection.send_message": ({"message": REQUIRED}, {"compress": None}),
    "WebSocketConnection.send_message_nowait": ({"message": REQUIRED}, {"compress": None}),
    "WebSocketConnection.get_message": ({}, {}),
    "WebSocketConnection.send_fragments": ({"fragments": REQUIRED}, {"compress": None}),
    "WebSocketConnection.receive_fragments": ({}, {}),
    "WebSocketStream": ({"connection": REQUIRED}, {}),
    "WebSocketStream.send_all": ({"data": REQUIRED}, {}),
    "WebSocketStream.wait_send_all_might_not_block": ({}, {}),
    "WebSocketStream.receive_some": ({"max_bytes": None}, {}),
    "WebSocketStream.aclose": ({}, {}),
    "WebSocketConnection.get_message_nowait": ({}, {}),
    "WebSocketConnection.ping": ({"payload": None}, {}),
    "WebSocketConnection.pong": ({"payload": None}, {}),
    "WebSocketConnection.aclose": ({"code": 1000, "reason": None}, {}),
    "WebSocketConnection.wait_closed": ({}, {}),
}

HANDING_ON = {"open_reconnecting_websocket_url", "run_websocket_url"}

ASYNC = {
    "WebSocketConnection.send_fragments",
    "WebSocketStream.aclose",
    "WebSocketStream.receive_some",
    "WebSocketStream.send_all",
    "WebSocketStream.wait_send_all_might_not_block",
    "run_websocket_url",
    "ReconnectingWebSocket.aclose",
    "ReconnectingWebSocket.get_message",
    "ReconnectingWebSocket.ping",
    "ReconnectingWebSocket.send_message",
    "ReconnectingWebSocket.wait_connected",
    "connect_websocket",
    "connect_websocket_url",
    "wrap_client_stream",
    "wrap_server_stream",
    "serve_websocket",
    "serve_websocket_unix",
    "WebSocketServer.run",
    "WebSocketRequest.accept",
    "WebSocketRequest.reject",
    "WebSocketConnection.send_message",
    "WebSocketConnection.get_message",
    "WebSocketConnection.ping",
    "WebSocketConnection.pong",
    "WebSocketConnection.aclose",
    "WebSocketConnection.wait_closed",
}


def resolve(name: str) -> Any:
    value: Any = trio_websocket
    for part in name.split("."):
        value = getattr(value, part)
    return value


def test_public_names_are_those_of_the_contract() -> None:
    assert set(trio_websocket.__all__) == {*NAMES, "__version__"}
    assert trio_websocket.__version__.startswith("0.13.0")


@pytest.mark.parametrize("name", SIGNATURES)
def test_signature_is_that_of_the_contract(name: str) -> None:
    parameters = [
        each for each in inspect.signature(resolve(name)).parameters.values() if each.name != "self"
    ]
    positional = {each.name: each.default for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD}
    keyword_only = {each.name: each.default for each in parameters if each.kind is each.KEYWORD_ONLY}
    # The options of `open_websocket_url`, which `ClientOptions` has.
    others = [each.name for each in parameters if each.kind is each.VAR_KEYWORD]
    assert others == (["options"] if name in HANDING_ON else [])
    assert len(positional) + len(keyword_only) + len(others) == len(parameters)
    expected_positional, expected_keyword_only = SIGNATURES[name]
    # The order of what is positional counts.
    assert list(positional.items()) == list(expected_positional.items())
    assert keyword_only == expected_keyword_only


@pytest.mark.parametrize("name", SIGNATURES)
def test_what_has_to_be_awaited_is_async(name: str) -> None:
    assert inspect.iscoroutinefunction(resolve(name)) == (name in ASYNC)


@pytest.mark.parametrize(
    ("cls", "names"),
    [
        (
            WebSocketConnection,
            "closed is_client is_server local remote path subprotocol handshake_headers latency",
        ),
        (WebSocketRequest, "headers path proposed_subprotocols local remote"),
        (WebSocketServer, "port listeners"),
        (trio_websocket.CloseReason, "code name reason"),
        (trio_websocket.Outage, "unconfirmed"),
        (trio_websocket.ReconnectingWebSocket, "state outages"),
        (trio_websocket.Endpoint, "url"),
    ],
)
def test_facts_are_properties_that_cannot_be_set(cls: type, names: str) -> None:
    for name in names.split():
        found = getattr(cls, name)
        assert isinstance(found, property)
        assert found.fset is None


def public_members() -> list[tuple[str, object]]:
    members: list[tuple[str, object]] = []
    for name in sorted(NAMES):
        value = getattr(trio_websocket, name)
        members.append((name, value))
        if inspect.isclass(value):
            members += [
                (f"{name}.{key}", member)
                for key, member in vars(value).items()
                if not key.startswith("_") and (callable(member) or isinstance(member, property))
            ]
    return members


@pytest.mark.parametrize(
    ("name", "member"), public_members(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_public_name_has_a_docstring(name: str, member: object) -> None:
    doc = inspect.getdoc(member)
    assert doc, name
    assert doc.partition("\n")[0].endswith(".") or doc.partition("\n\n")[0].endswith("."), doc


def test_no_public_member_is_there_by_accident() -> None:
    members = {name for name, _ in public_members() if "." in name and not name.startswith("Endpoint")}
    methods = {name for name in SIGNATURES if "." in name}
    facts = {name for name, member in public_members() if isinstance(member, property)}
    assert members == methods | (facts & members)


def test_connection_can_be_iterated_and_closed_as_trios_resources() -> None:
    assert issubclass(WebSocketConnection, trio.abc.AsyncResource)
    assert issubclass(WebSocketConnection, AsyncIterable)


@pytest.mark.parametrize("call", [trio_websocket.open_websocket, trio_websocket.serve_websocket])
def test_calls_say_what_they_raise(call: Callable[..., object]) -> None:
    assert "Raises:" in (inspect.getdoc(call) or "")
