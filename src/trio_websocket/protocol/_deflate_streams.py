"""What goes through zlib: messages to compressed payloads and back (RFC 7692 §7.2)."""

from __future__ import annotations

import importlib
import zlib
from types import ModuleType
from typing import Any, Final

from trio_websocket._exceptions import RemoteProtocolError
from trio_websocket._kernel import Buffer
from trio_websocket.protocol._deflate import MAX_WINDOW_BITS, PerMessageDeflate
from trio_websocket.protocol._states import Role

__all__ = ["Deflater", "Inflater"]

# RFC 7692 §7.2.1: what a sync flush ends with, and a payload leaves out.
_TAIL: Final = b"\x00\x00\xff\xff"
_SYNC: Final = zlib.Z_SYNC_FLUSH

# Final blocks that one message may have: each takes a new context.
_MAX_FINAL_BLOCKS = 1024


def _find_fast() -> ModuleType | None:
    try:
        return importlib.import_module("isal.isal_zlib")
    except ImportError:
        return None


_fast = _find_fast()
_ERRORS: Final[tuple[type[Exception], ...]] = (zlib.error,) if _fast is None else (zlib.error, _fast.error)


class Deflater:
    """Compresses the messages that one end sends.

    Its memory is taken with the first message that is compressed; without context takeover only while one is.

    Args:
        agreed: What was agreed on.
        role: Which end this is.

    Attributes:
        threshold: Messages with fewer bytes are better sent as they are.
    """

    __slots__ = ("_bits", "_context", "_is_kept", "_level", "_memory_level", "threshold")

    def __init__(self, agreed: PerMessageDeflate, role: Role) -> None:
        is_server = role is Role.SERVER
        bits = agreed.server_max_window_bits if is_server else agreed.client_max_window_bits
        self._bits = bits or MAX_WINDOW_BITS
        self._is_kept = not (
            agreed.server_no_context_takeover if is_server else agreed.client_no_context_takeover
        )
        self._level = agreed.level
        self._memory_level = agreed.memory_level
        self._context: Any = None
        self.threshold: int = agreed.threshold

    def compress(self, data: Buffer) -> bytes:
        """Give what a part of a message comes to, all of it: who sends in parts wants each to arrive."""
        context = self._context
        if context is None:
            context = self._context = self._make_context()
        begin: bytes = context.compress(data)
        end: bytes = context.flush(_SYNC) if data else b""
        return begin + end

    def finish(self, data: Buffer) -> bytes:
        """Give what a message comes to, or what is left of it with its last part (RFC 7692 §7.2.1)."""
        context = self._context
        if context is None:
            context = self._context = self._make_context()
        begin: bytes = context.compress(data)
        end: bytes = context.flush(_SYNC)
        if not self._is_kept:
            self._context = None
        return begin + end[:-4] if begin else end[:-4]

    def _make_context(self) -> Any:
        if self._bits == 8:
            # zlib has no window so small. Without references back it needs none, and 9 is no lie.
            return zlib.compressobj(self._level, zlib.DEFLATED, -9, 1, zlib.Z_HUFFMAN_ONLY)
        # The fast one has the levels 0 to 3, all of which compress, and one size of memory: whoever wants less gets that.
        if _fast is not None and 1 <= self._level <= 4 and self._memory_level >= 8:
            return _fast.compressobj(self._level - 1, zlib.DEFLATED, -self._bits)
        return zlib.compressobj(self._level, zlib.DEFLATED, -self._bits, self._memory_level)


class Inflater:
    """Decompresses the messages that one end receives, a bounded part at a time.

    Its memory is taken with the first message that is compressed; without context takeover only while one is.

    Args:
        agreed: What was agreed on.
        role: Which end this is; its peer's terms hold.

    Attributes:
        has_more: Whether the latest call gave as much as it may, so that `go_on` has to follow.
    """

    __slots__ = ("_bits", "_context", "_final_blocks", "_is_finishing", "_is_kept", "_rest", "has_more")

    def __init__(self, agreed: PerMessageDeflate, role: Role) -> None:
        is_server = role is Role.SERVER
        bits = agreed.client_max_window_bits if is_server else agreed.server_max_window_bits
        self._bits = bits or MAX_WINDOW_BITS
        self._is_kept = not (
            agreed.client_no_context_takeover if is_server else agreed.server_no_context_takeover
        )
        self._context: Any = None
        self._rest: bytes = b""
        self._is_finishing = False
        self._final_blocks = 0
        self.has_more: bool = False

    def inflate(self, data: bytes, max_size: int, *, is_last: bool) -> bytes:
        """Decompress the next part of a message's payload.

        Args:
            data: The part. All that came before was taken out: `has_more` is False.
            max_size: Bytes to give at most; at least 1.
            is_last: Whether the message ends with it.

        Raises:
            RemoteProtocolError: It is not what DEFLATE makes (1007).
        """
        if is_last:
            # RFC 7692 §7.2.2: append what the sender has left out.
            data += _TAIL
            self._is_finishing = True
        return self._run(data, max_size)

    def go_on(self, max_size: int) -> bytes:
        """Give more of what `inflate` began; arguments and errors are the same."""
        return self._run(self._rest, max_size)

    def _run(self, data: bytes, max_size: int) -> bytes:
        context = self._context or self._begin()
        try:
            inflated: bytes = context.decompress(data, max_size)
            self._rest = context.unconsumed_tail
            if context.eof:
                inflated = self._restart(inflated, max_size)
        except _ERRORS as error:
            # RFC 6455 §7.4.1: 1007 is for a payload that is not consistent with its type; the framing was right.
            raise RemoteProtocolError(
                f"compressed message that is no DEFLATE data: {error}", code=1007
            ) from None
        if len(inflated) >= max_size:
            self.has_more = True
        else:
            self.has_more = False
            if self._is_finishing:
                self._is_finishing = False
                self._final_blocks = 0
                if not self._is_kept:
                    self._context = None
        return inflated

    def _begin(self) -> Any:
        self._context = self._make_context()
        return self._context

    def _restart(self, inflated: bytes, max_size: int) -> bytes:
        """Go on behind a block that says it is the last one, which RFC 7692 §7.2.1 allows anywhere.

        zlib does not give its window away, so what follows begins with an empty one, as it does at the sender: to write
        such a block is to finish, and to begin anew.
        """
        parts = [inflated]
        room = max_size - len(inflated)
        while self._context.eof:
            self._final_blocks += 1
            if self._final_blocks > _MAX_FINAL_BLOCKS:
                raise RemoteProtocolError(
                    f"compressed message with over {_MAX_FINAL_BLOCKS} final blocks", code=1009
                )
            self._rest = self._context.unused_data
            self._context = self._make_context()
            if not room:
                break
            parts.append(self._context.decompress(self._rest, room))
            self._rest = self._context.unconsumed_tail
            room -= len(parts[-1])
        return b"".join(parts)

    def _make_context(self) -> Any:
        # The fast one has one size of memory, which is that of the largest window.
        backend = _fast if _fast is not None and self._bits == MAX_WINDOW_BITS else zlib
        return backend.decompressobj(-self._bits)
