"""Whatever Sec-WebSocket-Extensions says, two ends agree on the same terms, or on none, or it is a RemoteProtocolError."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from inputs import Step, split

from trio_websocket.protocol import PerMessageDeflate, RemoteProtocolError
from trio_websocket.protocol._deflate_negotiation import answer_offers, check_answer, make_offers
from trio_websocket.protocol._headers import parse_extensions

T = TypeVar("T")

BITS: Final = (None, 8, 9, 10, 12, 14, 15, None)
NEGOTIATED: Final = (
    "server_no_context_takeover",
    "client_no_context_takeover",
    "server_max_window_bits",
    "client_max_window_bits",
)


def terms(step: Step) -> PerMessageDeflate:
    """What one end wants."""
    return PerMessageDeflate(
        server_no_context_takeover=bool(step.number & 1),
        client_no_context_takeover=bool(step.number & 2),
        server_max_window_bits=BITS[step.action],
        client_max_window_bits=BITS[step.number >> 2],
    )


def agreed(each: PerMessageDeflate) -> tuple[Any, ...]:
    return tuple(getattr(each, name) for name in NEGOTIATED)


def holds(result: PerMessageDeflate, ours: list[PerMessageDeflate]) -> bool:
    """Whether one of our wishes is granted: what bounds memory is kept."""
    return any(
        result.server_no_context_takeover >= each.server_no_context_takeover
        and (result.server_max_window_bits or 15) <= (each.server_max_window_bits or 15)
        for each in ours
    )


def check(data: bytes) -> None:
    """The target."""
    _, steps, value = split(data)
    half = len(steps) // 2
    client, server = [terms(step) for step in steps[:half]], [terms(step) for step in steps[half:]]
    between_our_own(client, server)
    extensions = given(lambda: parse_extensions(value))
    if extensions is None:
        return
    # A stranger's offer, to our server.
    result, answer = answer_offers(extensions, server)
    assert (result is None) == (answer is None)
    if result is not None and answer is not None:
        assert holds(result, server)
        (element,) = parse_extensions(answer)
        assert element[0] == "permessage-deflate"
    # A stranger's answer, to our client.
    result = given(lambda: check_answer(extensions, client))
    assert result is None or holds(result, client)


def given(function: Callable[[], T]) -> T | None:
    """What a call gives; None if it raises what it may."""
    try:
        return function()
    except RemoteProtocolError as error:
        refusal = error
    assert str(refusal).isascii()
    assert refusal.status_code in {None, 400}
    return None


def between_our_own(client: list[PerMessageDeflate], server: list[PerMessageDeflate]) -> None:
    """Our client and our server always come to terms that both understand in the same way."""
    if not client:
        return
    result, answer = answer_offers(parse_extensions(make_offers(client)), server)
    if answer is None:
        return
    seen = check_answer(parse_extensions(answer), client)
    assert result is not None
    assert seen is not None
    assert agreed(seen) == agreed(result)
