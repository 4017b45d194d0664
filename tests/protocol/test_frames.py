"""Which frames a peer may send."""

from __future__ import annotations

import re

import pytest

from trio_websocket._exceptions import RemoteProtocolError
from trio_websocket._kernel import FrameHeader
from trio_websocket.protocol._frames import check_control_payload, check_header

DATA = [0x0, 0x1, 0x2]
CONTROL = [0x8, 0x9, 0xA]
UNKNOWN = sorted(set(range(16)) - {*DATA, *CONTROL})
MASKS = {False: None, True: b"abcd"}

GOOD = FrameHeader(fin=True, rsv=0, opcode=1, mask=None, length=1, is_minimal=True)

both_roles = pytest.mark.parametrize("must_be_masked", [False, True], ids=["from server", "from client"])


def check(header: FrameHeader, must_be_masked: bool) -> None:
    check_header(header._replace(mask=MASKS[must_be_masked]), must_be_masked=must_be_masked)


def check_fails(header: FrameHeader, must_be_masked: bool, text: str) -> None:
    with pytest.raises(RemoteProtocolError, match=f"^{re.escape(text)}$") as caught:
        check(header, must_be_masked)
    # RFC 6455 §7.4.1: 1002 is for a protocol error.
    assert caught.value.code == 1002


@both_roles
@pytest.mark.parametrize("length", [0, 1, 125, 126, 65535, 65536, 2**31, 2**63 - 1])
@pytest.mark.parametrize("fin", [False, True])
@pytest.mark.parametrize("opcode", DATA)
def test_a_data_frame_may_have_any_length_and_be_fragmented(
    opcode: int, fin: bool, length: int, must_be_masked: bool
) -> None:
    check(GOOD._replace(opcode=opcode, fin=fin, length=length), must_be_masked)


@both_roles
@pytest.mark.parametrize("length", [0, 1, 125])
@pytest.mark.parametrize("opcode", CONTROL)
def test_a_control_frame_may_have_up_to_125_bytes(opcode: int, length: int, must_be_masked: bool) -> None:
    check(GOOD._replace(opcode=opcode, length=length), must_be_masked)


@both_roles
@pytest.mark.parametrize("length", [126, 127, 65536, 2**63 - 1])
@pytest.mark.parametrize("opcode", CONTROL)
def test_a_longer_control_frame_is_an_error(opcode: int, length: int, must_be_masked: bool) -> None:
    header = GOOD._replace(opcode=opcode, length=length)
    check_fails(header, must_be_masked, f"control frame of {length} bytes exceeds 125")


@both_roles
@pytest.mark.parametrize("opcode", CONTROL)
def test_a_fragmented_control_frame_is_an_error(opcode: int, must_be_masked: bool) -> None:
    check_fails(GOOD._replace(opcode=opcode, fin=False), must_be_masked, "fragmented control frame")


@both_roles
@pytest.mark.parametrize("opcode", [*DATA, *CONTROL])
@pytest.mark.parametrize("rsv", range(1, 8))
def test_a_reserved_bit_is_an_error(rsv: int, opcode: int, must_be_masked: bool) -> None:
    header = GOOD._replace(opcode=opcode, rsv=rsv)
    check_fails(header, must_be_masked, f"frame with reserved bits set: {rsv:03b}")


@both_roles
@pytest.mark.parametrize("opcode", UNKNOWN)
def test_an_unknown_opcode_is_an_error(opcode: int, must_be_masked: bool) -> None:
    check_fails(GOOD._replace(opcode=opcode), must_be_masked, f"frame with unknown opcode {opcode}")


@pytest.mark.parametrize("opcode", [*DATA, *CONTROL])
def test_a_client_must_mask(opcode: int) -> None:
    with pytest.raises(RemoteProtocolError, match="client sent an unmasked frame"):
        check_header(GOOD._replace(opcode=opcode), must_be_masked=True)


@pytest.mark.parametrize("mask", [b"abcd", bytes(4)])
@pytest.mark.parametrize("opcode", [*DATA, *CONTROL])
def test_a_server_must_not_mask(opcode: int, mask: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="server sent a masked frame"):
        check_header(GOOD._replace(opcode=opcode, mask=mask), must_be_masked=False)


def test_a_mask_of_zeros_is_a_mask() -> None:
    check_header(GOOD._replace(mask=bytes(4)), must_be_masked=True)


@both_roles
@pytest.mark.parametrize("length", [0, 125, 126, 65535])
def test_a_length_in_too_many_bytes_is_an_error(length: int, must_be_masked: bool) -> None:
    header = GOOD._replace(length=length, is_minimal=False)
    check_fails(header, must_be_masked, f"frame whose length {length} is not written in the fewest bytes")


@both_roles
@pytest.mark.parametrize("length", [2**63, 2**64 - 1])
def test_a_length_with_its_highest_bit_is_an_error(length: int, must_be_masked: bool) -> None:
    check_fails(
        GOOD._replace(length=length), must_be_masked, "frame whose 64-bit length has its highest bit set"
    )


@pytest.mark.parametrize("size", [0, 1, 125])
def test_a_caller_may_send_control_payloads_up_to_125_bytes(size: int) -> None:
    check_control_payload(bytes(size))


@pytest.mark.parametrize("size", [126, 2**16])
def test_a_caller_may_not_send_a_longer_control_payload(size: int) -> None:
    with pytest.raises(ValueError, match=f"control payload of {size} bytes exceeds 125"):
        check_control_payload(bytes(size))


@both_roles
@pytest.mark.parametrize("fin", [False, True])
@pytest.mark.parametrize("opcode", [1, 2])
def test_rsv1_marks_a_compressed_message_once_that_was_agreed_on(
    opcode: int, fin: bool, must_be_masked: bool
) -> None:
    header = GOOD._replace(opcode=opcode, fin=fin, rsv=4, mask=MASKS[must_be_masked])
    check_header(header, must_be_masked=must_be_masked, may_be_compressed=True)
    check_header(header._replace(rsv=0), must_be_masked=must_be_masked, may_be_compressed=True)
    check_fails(header, must_be_masked, "frame with reserved bits set: 100")


@pytest.mark.parametrize("rsv", range(1, 8))
@pytest.mark.parametrize("opcode", [*DATA, *CONTROL])
def test_reserved_bits_mark_nothing_else(opcode: int, rsv: int) -> None:
    if rsv == 4 and opcode in {1, 2}:
        return
    with pytest.raises(RemoteProtocolError, match=f"frame with reserved bits set: {rsv:03b}") as caught:
        header = GOOD._replace(opcode=opcode, rsv=rsv)
        check_header(header, must_be_masked=False, may_be_compressed=True)
    assert caught.value.code == 1002
