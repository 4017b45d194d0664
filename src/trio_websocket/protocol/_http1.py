"""The opening handshake over HTTP/1.1, for both roles (RFC 6455 §4, RFC 9112).

Theory of operation
-------------------
What comes in is kept here until a head (the lines up to the first empty one) is whole; only then is it taken apart:
a usual request by `usual_request`, all else by `_http1_messages`, which hides h11. So the bound on a head holds before
memory is spent, each byte is looked at once however the bytes are cut (twice, if the first piece is not the whole
request), bytes that cannot be HTTP are told from the first one on, and no parser sees what follows the handshake.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable

from trio_websocket._exceptions import RemoteProtocolError
from trio_websocket.protocol._deflate import Compression, PerMessageDeflate, offers_of
from trio_websocket.protocol._deflate_negotiation import answer_offers
from trio_websocket.protocol._events import (
    NEED_DATA,
    HandshakeCompleted,
    Headers,
    NeedData,
    RequestReceived,
    ResponseRejected,
)
from trio_websocket.protocol._handshake import (
    OpeningRequest,
    check_request,
    check_response,
    error_headers,
    make_key,
    request_headers,
    response_headers,
    usual_request,
)
from trio_websocket.protocol._headers import Extension, HeaderInput, check_subprotocols, shown
from trio_websocket.protocol._http1_messages import (
    MAX_HEADERS,
    SWITCHED,
    ResponseParser,
    final_response,
    get_request,
    parse_request,
    switching_response,
)
from trio_websocket.protocol._http1_peers import CLIENT, SERVER, Peer
from trio_websocket.protocol._url import encode_resource

__all__ = ["ClientHandshake", "ServerHandshake"]

_HEAD_END = re.compile(rb"\n\r?\n")
# RFC 8446 §5.1: content types 21 (alert) and 22 (handshake) begin a TLS record; neither can begin HTTP.
_TLS_RECORDS = (b"\x15", b"\x16")


class _Handshake:
    """What both roles share: bytes in and out, finding the head, and the error that ends it all."""

    __slots__ = (
        *("_peer", "_error", "_buffer", "_searched", "_is_first_line_checked", "_max_header_size"),
        *("_header_size_left", "_max_unread", "_eof_received", "_is_discarding", "_outgoing"),
    )

    def __init__(self, peer: Peer, max_header_size: int) -> None:
        self._peer = peer
        self._error: RemoteProtocolError | None = None
        # Reading. Invariant: no head ends within the first `_searched` bytes of `_buffer`.
        self._buffer = bytearray()
        self._searched = 0
        self._is_first_line_checked = False
        self._max_header_size = max_header_size
        self._header_size_left = max_header_size
        self._max_unread = max(max_header_size, peer.max_unread)
        self._eof_received = False
        self._is_discarding = False
        # Writing.
        self._outgoing = bytearray()

    def receive_data(self, data: bytes | bytearray | memoryview) -> None:
        """Take bytes in; `next_event` then tells what they mean.

        When the handshake is done they are added to `trailing_data`; after an error or a rejection they are
        dropped. To let more than 64 KiB of a client, or 1 MiB of a server, lie unread is an error, which the
        next call raises.
        """
        if self._is_discarding:
            return
        if len(self._buffer) > self._max_unread:
            self._fail(
                self._broken(f"sent more than {self._max_unread} bytes ahead of the opening handshake")
            )
            return
        self._buffer += data

    def receive_eof(self) -> None:
        """Take note that no bytes will come any more; `next_event` then tells what that means."""
        self._eof_received = True

    def data_to_send(self) -> bytes:
        """Give the bytes that are to be sent, and forget them."""
        data = bytes(self._outgoing)
        self._outgoing.clear()
        return data

    def _broken(self, what: str, status_code: int = 400) -> RemoteProtocolError:
        """Make the error for what the peer did; only a client's gets a status."""
        return RemoteProtocolError(
            f"the {self._peer.name} {what}", status_code=status_code if self._peer is CLIENT else None
        )

    def _fail(self, error: RemoteProtocolError) -> None:
        self._error = error
        self._discard()

    def _discard(self) -> None:
        self._is_discarding = True
        self._buffer.clear()

    def _take_head(self) -> bytes | None:
        """Take a head out of the buffer; None if it is not whole yet."""
        match = _HEAD_END.search(self._buffer, max(0, self._searched - 2), self._header_size_left)
        if match is None:
            self._check_unfinished_head()
            self._searched = len(self._buffer)
            return None
        end = match.end()
        if not self._peer.first_line.match(self._buffer):
            raise self._not_http()
        head = bytes(self._buffer[:end])
        del self._buffer[:end]
        # A server may send several heads (100, 103, then 101): the limit is for all of them.
        self._header_size_left -= end
        self._searched = 0
        self._is_first_line_checked = False
        return head

    def _check_unfinished_head(self) -> None:
        """Refuse what is not HTTP as soon as it shows, and what is too large: the end of a head may never come."""
        if not self._is_first_line_checked:
            if self._buffer.find(b"\n", self._searched, self._header_size_left) >= 0:
                self._is_first_line_checked = True
                is_http = self._peer.first_line.match(self._buffer)
            else:
                is_http = self._peer.start.fullmatch(self._buffer, 0, 7)
            if self._buffer and not is_http:
                raise self._not_http()
        if len(self._buffer) > self._header_size_left:
            raise self._broken(f"sent headers that exceed max_header_size={self._max_header_size}", 431)

    def _not_http(self) -> RemoteProtocolError:
        if self._buffer[:1] in _TLS_RECORDS:
            return self._broken(
                f"sent a TLS record instead of an HTTP {self._peer.message}: {self._peer.tls_hint}"
            )
        line, line_feed, _ = self._buffer.partition(b"\n")
        if line_feed:
            line = line.removesuffix(b"\r")
        return self._broken(f"sent something else than an HTTP/1.1 {self._peer.message}: {shown(line)}")

    def _ended(self) -> RemoteProtocolError:
        """Make the error for an end of the connection before the peer's message was whole; its code is 1006."""
        if self._buffer:
            error = self._broken(f"ended the connection in the middle of its {self._peer.message}")
        else:
            error = self._broken(f"ended the connection before sending a {self._peer.message}")
            # Nobody asked for anything, so nobody is answered.
            error.status_code = None
        error.code = 1006
        return error


class ClientHandshake(_Handshake):
    """The client's side of an opening handshake over HTTP/1.1 (RFC 6455 §4.1).

    The request is in `data_to_send()` from the start.

    Args:
        host: The value of the Host header, sent as it is.
        resource: Path and query; what a request line cannot have is percent-encoded.
        subprotocols: Offers, in the order of preference.
        extra_headers: Further header fields.
        compression: What to offer: True or a `PerMessageDeflate`, or several in the order of preference.
        random_bytes: Gives that many random bytes, for the key.
        max_header_size: The most bytes of status lines and header fields that the server may send.
        max_body_size: How many bytes of a rejection's body are kept.

    Raises:
        TypeError: An argument is of another type.
        ValueError: An argument cannot be sent.
    """

    __slots__ = (
        *("_key", "_subprotocols", "_offers", "_parser"),
        *("_is_completed", "_rejection", "_body", "_max_body_size"),
    )

    def __init__(
        self,
        *,
        host: str,
        resource: str,
        subprotocols: Iterable[str] = (),
        extra_headers: HeaderInput = (),
        compression: Compression = None,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
        max_header_size: int = 16384,
        max_body_size: int = 65536,
    ) -> None:
        super().__init__(SERVER, max_header_size)
        self._key = make_key(random_bytes)
        self._subprotocols = check_subprotocols(subprotocols)
        self._offers = offers_of(compression)
        headers = request_headers(host, self._key, self._subprotocols, extra_headers, self._offers)
        self._outgoing += get_request(encode_resource(resource), headers)
        self._parser = ResponseParser(max_header_size)
        self._is_completed = False
        # The rejection whose body is being read.
        self._rejection: tuple[int, Headers] | None = None
        self._body = bytearray()
        self._max_body_size = max_body_size

    @property
    def trailing_data(self) -> bytes:
        """The bytes that came behind the 101 response: the first frames."""
        return bytes(self._buffer) if self._is_completed else b""

    def next_event(self) -> NeedData | HandshakeCompleted | ResponseRejected:
        """Give what the server answered, or NEED_DATA before it did and ever after.

        Raises:
            RemoteProtocolError: The server broke a rule, went over a limit, or ended the connection before
                it answered; every later call raises the same.
        """
        if self._error is not None:
            raise self._error
        if self._is_completed or self._is_discarding:
            return NEED_DATA
        try:
            if self._rejection is None:
                return self._read_head()
            return self._read_body(*self._rejection)
        except RemoteProtocolError as exc:
            self._fail(exc)
            raise

    def _read_head(self) -> NeedData | HandshakeCompleted | ResponseRejected:
        while (head := self._take_head()) is not None:
            status_code, headers = self._parser.parse_head(head)
            if status_code == 101:
                agreed = check_response(headers, self._key, self._subprotocols, self._offers)
                self._is_completed = True
                return HandshakeCompleted(agreed[0], headers, agreed[1])
            # RFC 9110 §15.2: a client MUST be able to parse one or more 1xx responses before the final one.
            if status_code >= 200:
                self._rejection = (status_code, headers)
                return self._read_body(status_code, headers)
        if self._eof_received:
            raise self._ended()
        return NEED_DATA

    def _read_body(self, status_code: int, headers: Headers) -> NeedData | ResponseRejected:
        body, is_complete = self._parser.parse_body(bytes(self._buffer), self._eof_received)
        self._buffer.clear()
        self._body += body[: self._max_body_size - len(self._body)]
        if not is_complete and len(self._body) < self._max_body_size:
            return NEED_DATA
        self._discard()
        return ResponseRejected(status_code, headers, bytes(self._body) or None)


class ServerHandshake(_Handshake):
    """The server's side of an opening handshake over HTTP/1.1 (RFC 6455 §4.2).

    Args:
        compression: What to agree to if it is offered: True or a `PerMessageDeflate`, or several.
        max_header_size: The most bytes that the request line and the header fields may have.

    Raises:
        TypeError: `compression` is of another type.
    """

    __slots__ = ("_answer", "_compression", "_is_head", "_request")

    def __init__(self, *, compression: Compression = None, max_header_size: int = 16384) -> None:
        super().__init__(CLIENT, max_header_size)
        self._compression = offers_of(compression)
        self._request: OpeningRequest | None = None
        # "accepted" or "rejected".
        self._answer: str | None = None
        # RFC 9110 §9.3.2: the answer to HEAD has no content.
        self._is_head = False

    @property
    def trailing_data(self) -> bytes:
        """The bytes that came behind the request: frames, if the client did not wait for the answer."""
        return b"" if self._request is None else bytes(self._buffer)

    @property
    def extensions(self) -> tuple[Extension, ...]:
        """The extensions that the client offers (RFC 6455 §9.1); `accept` takes none but permessage-deflate."""
        return () if self._request is None else self._request.extensions

    def receive_eof(self) -> None:
        """Take note that no bytes will come any more; a client that cannot send frames cannot be accepted."""
        super().receive_eof()
        if self._request is not None and self._answer is None and self._error is None:
            self._fail(self._left_early())

    def next_event(self) -> NeedData | RequestReceived:
        """Give the request, or NEED_DATA before it has come and ever after.

        Raises:
            RemoteProtocolError: The request is not right, goes over a limit, or the client ended the
                connection; what it gets, if anything, is in `data_to_send()`. Later calls raise the same.
        """
        request = self.next_request()
        if request is None:
            return NEED_DATA
        return RequestReceived(request.path, request.headers, request.subprotocols)

    def next_request(self) -> OpeningRequest | None:
        """As `next_event`, but give no event, for which the headers would have to be taken apart."""
        if self._error is not None:
            raise self._error
        if self._request is not None:
            return None
        try:
            self._request = self._read_request()
        except RemoteProtocolError as exc:
            self._fail(exc)
            raise
        return self._request

    def accept(
        self, *, subprotocol: str | None = None, extra_headers: HeaderInput = ()
    ) -> HandshakeCompleted:
        """Accept the request: the 101 response is in `data_to_send()` then (RFC 6455 §4.2.2).

        Args:
            subprotocol: One that the client proposed, or None for none.
            extra_headers: Further header fields.

        Returns:
            The subprotocol, the header fields of the response, and the compression that is agreed on.

        Raises:
            TypeError: An argument is of another type.
            ValueError: The subprotocol was not proposed, or a header is malformed or the handshake's own.
            RuntimeError: There is no request yet, or it has been answered.
            RemoteProtocolError: The client broke a rule, or left, meanwhile.
        """
        headers, compression = self.accept_request(subprotocol, extra_headers)
        lowered = [(name.lower(), value) for name, value in headers]
        return HandshakeCompleted(subprotocol, (*SWITCHED, *lowered), compression)

    def accept_request(
        self, subprotocol: str | None, extra_headers: HeaderInput
    ) -> tuple[list[tuple[bytes, bytes]], PerMessageDeflate | None]:
        """As `accept`, but give no event: the header fields behind those of `SWITCHED`, and the compression."""
        request = self._unanswered_request()
        # RFC 6455 §4.2.2, item 5.5: the subprotocol is one of the client's.
        if subprotocol is not None and subprotocol not in request.subprotocols:
            raise ValueError(
                f"the subprotocol {shown(str(subprotocol))} is not one that the client proposed: "
                + (", ".join(request.subprotocols) or "none")
            )
        compression, extension = answer_offers(request.extensions, self._compression)
        headers = response_headers(request.key, subprotocol, extra_headers, extension)
        self._outgoing += switching_response(headers)
        self._answer = "accepted"
        return headers, compression

    def reject(self, status_code: int, *, extra_headers: HeaderInput = (), body: bytes | None = None) -> None:
        """Reject the request: the response is in `data_to_send()` then; the caller sends it and closes.

        Args:
            status_code: From 200 to 599.
            extra_headers: Further header fields; Connection and Transfer-Encoding are left out.
            body: The content, or None for none.

        Raises:
            TypeError: An argument is of another type.
            ValueError: The status is another, it cannot have a body, a header is malformed, or a Content-Length
                is not that of the body.
            RuntimeError: There is no request yet, or it has been answered.
            RemoteProtocolError: The client broke a rule, or left, meanwhile.
        """
        self._unanswered_request()
        self._outgoing += final_response(status_code, extra_headers, body)
        self._answer = "rejected"
        self._discard()

    def _read_request(self) -> OpeningRequest | None:
        request = None
        if not self._searched and len(self._buffer) <= self._max_header_size:
            # As a rule, it has come in one piece, with nothing behind it.
            request = usual_request(bytes(self._buffer), MAX_HEADERS)
        if request is not None:
            self._buffer.clear()
        elif (head := self._take_head()) is not None:
            self._is_head = head.startswith(b"HEAD ")
            request = usual_request(head, MAX_HEADERS) or check_request(*parse_request(head))
        elif self._eof_received:
            raise self._ended()
        else:
            return None
        if self._eof_received:
            raise self._left_early()
        return request

    def _left_early(self) -> RemoteProtocolError:
        return self._broken("ended the connection before its request was answered")

    def _unanswered_request(self) -> OpeningRequest:
        if self._error is not None:
            raise self._error
        if self._answer is not None:
            raise RuntimeError(f"the request was {self._answer} before; it can be answered only once")
        if self._request is None:
            raise RuntimeError("no request has come yet, so there is nothing to answer")
        return self._request

    def _fail(self, error: RemoteProtocolError) -> None:
        if self._answer is None and error.status_code is not None:
            # A text for people who look at it with curl or a browser: plain, and escaped by `shown`.
            headers = [(b"Content-Type", b"text/plain; charset=utf-8"), *error_headers(error.status_code)]
            text = f"{error}\n".encode()
            self._outgoing += final_response(error.status_code, headers, text, is_body_sent=not self._is_head)
        super()._fail(error)
