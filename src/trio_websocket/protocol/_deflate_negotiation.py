"""How the two ends agree on permessage-deflate: offers, answers and their parameters (RFC 7692 §5, §7)."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from trio_websocket._exceptions import RemoteProtocolError
from trio_websocket.protocol._deflate import MAX_WINDOW_BITS, PerMessageDeflate
from trio_websocket.protocol._headers import Extension, shown

__all__ = ["answer_offers", "check_answer", "make_offers"]

_NAME = "permessage-deflate"
# RFC 7692 §7.1.2: a decimal integer value without leading zeroes between 8 to 15 inclusive.
_WINDOW_BITS = re.compile("[89]|1[0-5]")

_SERVER_TAKEOVER = "server_no_context_takeover"
_CLIENT_TAKEOVER = "client_no_context_takeover"
_SERVER_BITS = "server_max_window_bits"
_CLIENT_BITS = "client_max_window_bits"
_PARAMETERS = frozenset({_SERVER_TAKEOVER, _CLIENT_TAKEOVER, _SERVER_BITS, _CLIENT_BITS})


class _Parameters(NamedTuple):
    """An element's parameters, each right by itself. `client_bits` is 0 where it has no value, as an offer's may."""

    server_takeover: bool  # whether server_no_context_takeover is there
    client_takeover: bool
    server_bits: int | None
    client_bits: int | None


def make_offers(offers: Iterable[PerMessageDeflate]) -> bytes:
    """Make the value of a client's Sec-WebSocket-Extensions (RFC 7692 §5)."""
    # The server may set a bound to our window if, and only if, the parameter is there (§7.1.2.2).
    return ", ".join([_element(each, _CLIENT_BITS) for each in offers]).encode("ascii")


def _element(terms: PerMessageDeflate, default: str | None) -> str:
    parts = [_NAME]
    if terms.server_no_context_takeover:
        parts.append(_SERVER_TAKEOVER)
    if terms.client_no_context_takeover:
        parts.append(_CLIENT_TAKEOVER)
    if terms.server_max_window_bits is not None:
        parts.append(f"{_SERVER_BITS}={terms.server_max_window_bits}")
    if terms.client_max_window_bits is not None:
        parts.append(f"{_CLIENT_BITS}={terms.client_max_window_bits}")
    elif default is not None:
        parts.append(default)
    return "; ".join(parts)


def answer_offers(
    offers: Iterable[Extension], terms: Sequence[PerMessageDeflate]
) -> tuple[PerMessageDeflate | None, bytes | None]:
    """Choose what a server accepts: the first offer that it can take.

    Args:
        offers: The client's, in its order of preference; some may be of other extensions.
        terms: What the server would agree to; for one offer, the first that fits.

    Returns:
        What is agreed on and the value of Sec-WebSocket-Extensions for it, or twice None.
    """
    for offer in offers:
        # RFC 7692 §7: a server MUST decline an offer whose parameters are not right. It goes on with the next.
        if offer[0] == _NAME and _mistake(offer, is_offer=True) is None:
            parameters = _read(offer)
            for each in terms:
                agreed = _agree(parameters, each)
                if agreed is not None:
                    return agreed, _answer(agreed, parameters)
    return None, None


def _answer(agreed: PerMessageDeflate, offered: _Parameters) -> bytes:
    # RFC 7692 §7.1.2.1: what an offer has of it is in the answer; without it, 15 is what holds anyway.
    if agreed.server_max_window_bits == MAX_WINDOW_BITS and offered.server_bits is None:
        agreed = dataclasses.replace(agreed, server_max_window_bits=None)
    # §7.1.2.2: it MUST NOT answer an offer without it, which never leads to less than 15.
    if agreed.client_max_window_bits == MAX_WINDOW_BITS:
        agreed = dataclasses.replace(agreed, client_max_window_bits=None)
    return _element(agreed, None).encode("ascii")


def _agree(offered: _Parameters, terms: PerMessageDeflate) -> PerMessageDeflate | None:
    client_bits = terms.client_max_window_bits or MAX_WINDOW_BITS
    if client_bits < MAX_WINDOW_BITS and offered.client_bits is None:
        # RFC 7692 §7.1.2.2: without the parameter, the client's window is its own affair. Ours would not be bounded.
        return None
    return dataclasses.replace(
        terms,
        # RFC 7692 §7.1.1.1, §7.1.2.1: what the client asks of us is granted, and we may do more.
        server_no_context_takeover=terms.server_no_context_takeover or offered.server_takeover,
        server_max_window_bits=min(
            terms.server_max_window_bits or MAX_WINDOW_BITS, offered.server_bits or MAX_WINDOW_BITS
        ),
        # §7.1.1.2, §7.1.2.2: what it says of itself may be ignored, or taken at its word to save memory.
        client_no_context_takeover=terms.client_no_context_takeover or offered.client_takeover,
        client_max_window_bits=min(client_bits, offered.client_bits or MAX_WINDOW_BITS),
    )


def check_answer(
    extensions: Sequence[Extension], offers: Sequence[PerMessageDeflate]
) -> PerMessageDeflate | None:
    """Check what a server's Sec-WebSocket-Extensions says against a client's offers.

    Returns:
        What is agreed on, or None for no compression.

    Raises:
        RemoteProtocolError: It is no answer to any of the offers (RFC 7692 §5: the client fails the connection).
    """
    if not extensions:
        return None
    # RFC 6455 §9.1: no extension that was not asked for. RFC 7692 §5: one element, as one use of RSV1 excludes another.
    names = [name for name, _ in extensions]
    if not offers or names[0] != _NAME:
        raise RemoteProtocolError(f"the server chose an extension that was not offered: {shown(names[0])}")
    if len(names) > 1:
        raise RemoteProtocolError(f"the server chose more than one extension: {shown(', '.join(names))}")
    answer = extensions[0]
    mistake = _mistake(answer, is_offer=False)
    if mistake is not None:
        raise RemoteProtocolError(f"the server's answer for {_NAME} is wrong: {mistake}")
    parameters = _read(answer)
    for offer in offers:
        if _is_answer(parameters, offer):
            return _agreed(parameters, offer)
    raise RemoteProtocolError(f"the server's answer for {_NAME} fits no offer: {shown(_text(answer))}")


def _is_answer(answer: _Parameters, offer: PerMessageDeflate) -> bool:
    # RFC 7692 §7.1.1.1: a server accepts the parameter by including it.
    if offer.server_no_context_takeover and not answer.server_takeover:
        return False
    # §7.1.2.1: with the same or a smaller value.
    bits = offer.server_max_window_bits
    return bits is None or (answer.server_bits is not None and answer.server_bits <= bits)


def _agreed(answer: _Parameters, offer: PerMessageDeflate) -> PerMessageDeflate:
    return dataclasses.replace(
        offer,
        server_no_context_takeover=answer.server_takeover,
        server_max_window_bits=answer.server_bits or MAX_WINDOW_BITS,
        # RFC 7692 §7.1.1.2, §7.1.2.2: what an offer says of ourselves holds, whatever the answer says; it may say more.
        client_no_context_takeover=answer.client_takeover or offer.client_no_context_takeover,
        client_max_window_bits=min(
            answer.client_bits or MAX_WINDOW_BITS, offer.client_max_window_bits or MAX_WINDOW_BITS
        ),
    )


def _mistake(element: Extension, *, is_offer: bool) -> str | None:
    """What is wrong about an element by itself (RFC 7692 §7.1), or None."""
    names = [name for name, _ in element[1]]
    for name, value in element[1]:
        if name not in _PARAMETERS:
            return f"unknown parameter {shown(name)}"
        if names.count(name) > 1:
            return f"parameter {name} is there twice"
        if name in {_SERVER_TAKEOVER, _CLIENT_TAKEOVER}:
            if value is not None:
                return f"{name} has a value: {shown(value)}"
        elif value is None:
            # §7.1.2.2: only there and only in an offer, it may have none.
            if not (is_offer and name == _CLIENT_BITS):
                return f"{name} has no value"
        elif not _WINDOW_BITS.fullmatch(value):
            return f"{name} is not a number from 8 to 15: {shown(value)}"
    return None


def _read(element: Extension) -> _Parameters:
    given = dict(element[1])
    bits = {name: int(value or 0) for name, value in element[1] if name in {_SERVER_BITS, _CLIENT_BITS}}
    return _Parameters(
        _SERVER_TAKEOVER in given, _CLIENT_TAKEOVER in given, bits.get(_SERVER_BITS), bits.get(_CLIENT_BITS)
    )


def _text(element: Extension) -> str:
    return "; ".join(
        [element[0], *(name if value is None else f"{name}={value}" for name, value in element[1])]
    )
