"""How the two ends agree on permessage-deflate (RFC 7692 §5, §7.1)."""

from __future__ import annotations

import itertools

import pytest

from trio_websocket.protocol import (
    ClientHandshake,
    HandshakeCompleted,
    PerMessageDeflate,
    RemoteProtocolError,
    ServerHandshake,
)
from trio_websocket.protocol._deflate_negotiation import answer_offers, check_answer, make_offers
from trio_websocket.protocol._headers import parse_extensions

Terms = PerMessageDeflate
NAME = "permessage-deflate"
S_TAKEOVER, C_TAKEOVER = "server_no_context_takeover", "client_no_context_takeover"
S_BITS, C_BITS = "server_max_window_bits", "client_max_window_bits"


def agreed(
    server_takeover: bool = False, client_takeover: bool = False, server_bits: int = 15, client_bits: int = 15
) -> Terms:
    return Terms(server_takeover, client_takeover, server_bits, client_bits)


def answer(offers: str, *terms: Terms) -> tuple[Terms | None, str | None]:
    """What a server with these terms makes of a client's header."""
    result, value = answer_offers(parse_extensions(offers.encode()), terms or (Terms(),))
    return result, None if value is None else value.decode()


def accepted(value: str, *offers: Terms) -> Terms | None:
    """What a client that made these offers makes of a server's header."""
    return check_answer(parse_extensions(value.encode()), offers or (Terms(),))


# ------------------------------------------------------------------------------------------------ the client's offers


@pytest.mark.parametrize(
    ("offers", "value"),
    [
        ([Terms()], f"{NAME}; {C_BITS}"),
        (
            [Terms(True, True, 10, 11)],
            f"{NAME}; {S_TAKEOVER}; {C_TAKEOVER}; {S_BITS}=10; {C_BITS}=11",
        ),
        ([Terms(server_max_window_bits=15)], f"{NAME}; {S_BITS}=15; {C_BITS}"),
        (
            [Terms(server_max_window_bits=8), Terms()],
            f"{NAME}; {S_BITS}=8; {C_BITS}, {NAME}; {C_BITS}",
        ),
    ],
)
def test_offers_are_sent_in_their_order(offers: list[Terms], value: str) -> None:
    assert make_offers(offers) == value.encode()


# ------------------------------------------------------------------------------------------------ the server's answer


@pytest.mark.parametrize(
    ("offer", "result", "value"),
    [
        (NAME, agreed(), NAME),
        (f"{NAME}; {C_BITS}", agreed(), NAME),
        (f"{NAME}; {S_TAKEOVER}", agreed(server_takeover=True), f"{NAME}; {S_TAKEOVER}"),
        (f"{NAME}; {C_TAKEOVER}", agreed(client_takeover=True), f"{NAME}; {C_TAKEOVER}"),
        (f"{NAME}; {S_BITS}=8", agreed(server_bits=8), f"{NAME}; {S_BITS}=8"),
        (f"{NAME}; {S_BITS}=15", agreed(), f"{NAME}; {S_BITS}=15"),
        (f"{NAME}; {C_BITS}=10", agreed(client_bits=10), f"{NAME}; {C_BITS}=10"),
        (f"{NAME}; {C_BITS}=15", agreed(), NAME),
        # RFC 6455 §9.1: a value may be quoted.
        (f'{NAME}; {S_BITS}="10"', agreed(server_bits=10), f"{NAME}; {S_BITS}=10"),
        (f'{NAME}; {S_BITS}="1\\0"', agreed(server_bits=10), f"{NAME}; {S_BITS}=10"),
        (
            f"{NAME} ;{C_BITS} ; {S_BITS}= 9;{C_TAKEOVER};{S_TAKEOVER}",
            agreed(True, True, 9),
            f"{NAME}; {S_TAKEOVER}; {C_TAKEOVER}; {S_BITS}=9",
        ),
    ],
)
def test_a_right_offer_is_accepted(offer: str, result: Terms, value: str) -> None:
    assert answer(offer) == (result, value)


@pytest.mark.parametrize(
    "offer",
    [
        f"{NAME}; foo",
        f"{NAME}; {S_TAKEOVER}=1",
        f'{NAME}; {C_TAKEOVER}="true"',
        f"{NAME}; {S_TAKEOVER}; {S_TAKEOVER}",
        f"{NAME}; {C_BITS}; {C_BITS}=10",
        f"{NAME}; {S_BITS}=10; {S_BITS}=10",
        f"{NAME}; {S_BITS}",
        f"{NAME}; {S_BITS}=7",
        f"{NAME}; {S_BITS}=16",
        f"{NAME}; {S_BITS}=08",
        f"{NAME}; {S_BITS}=+9",
        f"{NAME}; {S_BITS}=1e1",
        f"{NAME}; {C_BITS}=07",
        f"{NAME}; {C_BITS}=010",
        f"{NAME}; {C_BITS}=16",
        f"{NAME}; {C_BITS}=x",
        "x-webkit-deflate-frame",
        "Permessage-Deflate",
        "",
    ],
)
def test_a_wrong_offer_is_declined_and_the_next_one_is_looked_at(offer: str) -> None:
    assert answer(offer) == (None, None)
    assert answer(f"{offer}, {NAME}; {S_BITS}=9") == (agreed(server_bits=9), f"{NAME}; {S_BITS}=9")


@pytest.mark.parametrize(
    ("terms", "offer", "result", "value"),
    [
        (Terms(server_no_context_takeover=True), NAME, agreed(True), f"{NAME}; {S_TAKEOVER}"),
        (Terms(client_no_context_takeover=True), NAME, agreed(False, True), f"{NAME}; {C_TAKEOVER}"),
        # It may say less than 15 of itself unasked (§7.1.2.1), and never more than it is asked for.
        (Terms(server_max_window_bits=10), NAME, agreed(server_bits=10), f"{NAME}; {S_BITS}=10"),
        (
            Terms(server_max_window_bits=10),
            f"{NAME}; {S_BITS}=12",
            agreed(server_bits=10),
            f"{NAME}; {S_BITS}=10",
        ),
        (
            Terms(server_max_window_bits=12),
            f"{NAME}; {S_BITS}=10",
            agreed(server_bits=10),
            f"{NAME}; {S_BITS}=10",
        ),
        (
            Terms(client_max_window_bits=10),
            f"{NAME}; {C_BITS}",
            agreed(client_bits=10),
            f"{NAME}; {C_BITS}=10",
        ),
        (
            Terms(client_max_window_bits=10),
            f"{NAME}; {C_BITS}=12",
            agreed(client_bits=10),
            f"{NAME}; {C_BITS}=10",
        ),
        (
            Terms(client_max_window_bits=12),
            f"{NAME}; {C_BITS}=10",
            agreed(client_bits=10),
            f"{NAME}; {C_BITS}=10",
        ),
        (Terms(client_max_window_bits=15), NAME, agreed(), NAME),
    ],
)
def test_a_server_may_ask_for_more(terms: Terms, offer: str, result: Terms, value: str) -> None:
    assert answer(offer, terms) == (result, value)


def test_a_bound_for_a_client_that_takes_none_declines_its_offer() -> None:
    # RFC 7692 §7.1.2.2: without the parameter in the offer, the answer MUST NOT have it.
    small = Terms(client_max_window_bits=9)
    assert answer(NAME, small) == (None, None)
    assert answer(f"{NAME}, {NAME}; {C_BITS}", small) == (agreed(client_bits=9), f"{NAME}; {C_BITS}=9")
    assert answer(NAME, small, Terms(level=3)) == (Terms(False, False, 15, 15, level=3), NAME)


def test_the_client_s_order_comes_first() -> None:
    both = (Terms(client_max_window_bits=9), Terms(level=1))
    result, _ = answer(f"{NAME}; {S_BITS}=10, {NAME}; {C_BITS}", *both)
    assert result == Terms(server_max_window_bits=10, client_max_window_bits=15, level=1)


def test_what_only_one_end_knows_is_its_own() -> None:
    result, _ = answer(NAME, Terms(level=7, memory_level=3, threshold=5))
    assert result is not None
    assert (result.level, result.memory_level, result.threshold) == (7, 3, 5)


def test_a_server_without_terms_declines_everything() -> None:
    assert answer_offers(parse_extensions(NAME.encode()), ()) == (None, None)


# ------------------------------------------------------------------------------------- what the client makes of that


@pytest.mark.parametrize(
    ("offer", "value", "result"),
    [
        (Terms(), NAME, agreed()),
        (Terms(), f"{NAME}; {S_TAKEOVER}", agreed(server_takeover=True)),
        (Terms(), f"{NAME}; {C_TAKEOVER}", agreed(client_takeover=True)),
        (Terms(), f"{NAME}; {S_BITS}=8", agreed(server_bits=8)),
        (Terms(), f'{NAME}; {C_BITS}="8"', agreed(client_bits=8)),
        (Terms(True), f"{NAME}; {S_TAKEOVER}", agreed(server_takeover=True)),
        (Terms(server_max_window_bits=10), f"{NAME}; {S_BITS}=10", agreed(server_bits=10)),
        (Terms(server_max_window_bits=10), f"{NAME}; {S_BITS}=9", agreed(server_bits=9)),
        (Terms(client_max_window_bits=10), f"{NAME}; {C_BITS}=9", agreed(client_bits=9)),
        # What we said of ourselves holds without an answer to it, and whatever that is (§7.1.1.2, §7.1.2.2).
        (Terms(client_no_context_takeover=True), NAME, agreed(client_takeover=True)),
        (Terms(client_max_window_bits=10), NAME, agreed(client_bits=10)),
        (Terms(client_max_window_bits=10), f"{NAME}; {C_BITS}=12", agreed(client_bits=10)),
    ],
)
def test_a_right_answer_is_accepted(offer: Terms, value: str, result: Terms) -> None:
    assert accepted(value, offer) == result


def test_no_answer_is_no_compression() -> None:
    assert accepted("") is None
    assert check_answer((), ()) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (f"{NAME}; foo=1", "unknown parameter 'foo'"),
        (f"{NAME}; {S_TAKEOVER}; {S_TAKEOVER}", "parameter server_no_context_takeover is there twice"),
        (f"{NAME}; {C_BITS}=9; {C_BITS}=10", "parameter client_max_window_bits is there twice"),
        (f"{NAME}; {C_TAKEOVER}=1", "client_no_context_takeover has a value: '1'"),
        (f"{NAME}; {S_BITS}", "server_max_window_bits has no value"),
        (f"{NAME}; {C_BITS}", "client_max_window_bits has no value"),
        (f"{NAME}; {S_BITS}=16", "server_max_window_bits is not a number from 8 to 15: '16'"),
        (f"{NAME}; {C_BITS}=09", "client_max_window_bits is not a number from 8 to 15: '09'"),
        (f"{NAME}, {NAME}", "chose more than one extension"),
        (f"{NAME}, foo", "chose more than one extension"),
        ("foo", "chose an extension that was not offered: 'foo'"),
    ],
)
def test_a_wrong_answer_is_an_error(value: str, text: str) -> None:
    with pytest.raises(RemoteProtocolError, match=text) as caught:
        accepted(value)
    assert caught.value.code == 1002


@pytest.mark.parametrize(
    ("offer", "value"),
    [
        (Terms(server_no_context_takeover=True), NAME),
        (Terms(server_max_window_bits=10), NAME),
        (Terms(server_max_window_bits=10), f"{NAME}; {S_BITS}=11"),
    ],
)
def test_an_answer_that_grants_less_than_was_asked_for_fits_no_offer(offer: Terms, value: str) -> None:
    with pytest.raises(RemoteProtocolError, match=f"fits no offer: '{value}'"):
        accepted(value, offer)
    # With another offer behind it, it may be the answer to that.
    assert accepted(value, offer, Terms(level=4)) is not None


def test_an_answer_without_an_offer_is_an_error() -> None:
    with pytest.raises(RemoteProtocolError, match="not offered: 'permessage-deflate'"):
        check_answer([(NAME, [])], ())


# ----------------------------------------------------------------------------------------------------- both together

BITS = (None, 8, 12, 15)
ALL = [
    Terms(*takeovers, *bits)
    for takeovers in itertools.product((False, True), repeat=2)
    for bits in itertools.product(BITS, repeat=2)
]


@pytest.mark.parametrize("offer", ALL, ids=str)
def test_both_ends_always_agree_on_the_same(offer: Terms) -> None:
    for terms in ALL:
        client = ClientHandshake(host="test", resource="/", compression=offer)
        server = ServerHandshake(compression=terms)
        server.receive_data(client.data_to_send())
        server.next_event()
        at_server = server.accept().compression
        client.receive_data(server.data_to_send())
        completed = client.next_event()
        assert isinstance(completed, HandshakeCompleted)
        assert completed.compression == at_server is not None
        # Nobody gets less than they asked for.
        for wish in (offer, terms):
            assert at_server.server_no_context_takeover >= wish.server_no_context_takeover
            assert at_server.client_no_context_takeover >= wish.client_no_context_takeover
            assert (at_server.server_max_window_bits or 0) <= (wish.server_max_window_bits or 15)
            assert (at_server.client_max_window_bits or 0) <= (wish.client_max_window_bits or 15)
