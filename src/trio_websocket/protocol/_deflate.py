"""What is asked of permessage-deflate, and what was agreed on (RFC 7692 §7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["MAX_WINDOW_BITS", "Compression", "PerMessageDeflate", "offers_of"]

# RFC 7692 §7.1.2: a decimal integer value between 8 to 15 inclusive; 15 is what holds without the parameter.
MIN_WINDOW_BITS = 8
MAX_WINDOW_BITS = 15


@dataclass(frozen=True, slots=True)
class PerMessageDeflate:
    """Compression of messages: what a client offers, what a server agrees to, and what was agreed on (RFC 7692 §7).

    The first four are about both ends, and negotiated; the others are about what this end sends, and its own.

    Args:
        server_no_context_takeover: The server begins each message with an empty window, so neither end has to keep
            it between messages, and short messages compress worse (§7.1.1.1).
        client_no_context_takeover: The client does (§7.1.1.2).
        server_max_window_bits: The base-2 logarithm of the server's window, from 8 to 15 (§7.1.2.1); None asks for
            nothing, so it is 15 unless the other end asks for less.
        client_max_window_bits: The client's (§7.1.2.2). A server that sets it declines an offer that does not let
            it have a say.
        level: zlib's: 0 for none, 1 (fast) to 9 (small), -1 for its default, 6.
        memory_level: zlib's, from 1 to 9.
        threshold: Messages with fewer bytes are sent as they are.

    Raises:
        ValueError: A number is not one of these.
    """

    server_no_context_takeover: bool = False
    client_no_context_takeover: bool = False
    server_max_window_bits: int | None = None
    client_max_window_bits: int | None = None
    level: int = 2
    memory_level: int = 8
    threshold: int = 256

    def __post_init__(self) -> None:
        for name in ("server_max_window_bits", "client_max_window_bits"):
            if getattr(self, name) is not None:
                self._check(name, MIN_WINDOW_BITS, MAX_WINDOW_BITS)
        self._check("level", -1, 9)
        self._check("memory_level", 1, 9)
        if self.threshold < 0:
            raise ValueError(f"threshold={self.threshold!r} is not a number of at least 0")

    def _check(self, name: str, least: int, most: int) -> None:
        value = getattr(self, name)
        if not (isinstance(value, int) and least <= value <= most):
            raise ValueError(f"{name}={value!r} is not a whole number from {least} to {most}")


Compression = bool | PerMessageDeflate | Sequence[PerMessageDeflate] | None
"""As callers ask for it: True for a plain `PerMessageDeflate()`, several in the order of preference, or none."""


def offers_of(compression: object) -> tuple[PerMessageDeflate, ...]:
    """Give what a caller asks for, a `Compression`, as a tuple: an empty one for no compression.

    Raises:
        TypeError: It is something else.
    """
    if compression is None or compression is False:
        return ()
    if compression is True:
        return (PerMessageDeflate(),)
    if isinstance(compression, PerMessageDeflate):
        return (compression,)
    if isinstance(compression, Sequence) and all(isinstance(each, PerMessageDeflate) for each in compression):
        return tuple(compression)
    raise TypeError(f"compression must be a bool, a PerMessageDeflate or several, not {compression!r}")
