"""What is said when TLS fails, in words for people, with OpenSSL's own behind them."""

from __future__ import annotations

import re
import ssl

__all__ = ["ANSWER_TO_PLAIN_HTTP", "PLAIN_HTTP", "eof_error", "explain_tls"]

# OpenSSL's reasons where a client sent "GET " or "CONNECT ".
PLAIN_HTTP = frozenset({"HTTP_REQUEST", "HTTPS_PROXY_REQUEST"})

# RFC 6455 §4.1: a client shows what it is rejected with, so the one that forgot the "s" is told.
_HINT = b"This port speaks TLS: use wss: or https:.\n"
ANSWER_TO_PLAIN_HTTP = (
    b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b"
    % (len(_HINT), _HINT)
)

# OpenSSL's words, before 3.2 and since, for what is no TLS record; Python has a `reason` for the former only.
_NO_RECORD = ("wrong version number", "record layer failure")

_UNTRUSTED = "the {peer}'s certificate is not signed by an authority that is trusted here"
_OTHER_HOST = "the {peer}'s certificate is for another host"

# By the X509_V_ERR_... that OpenSSL verifies with.
_VERIFYING = {
    2: _UNTRUSTED,
    9: "the {peer}'s certificate is not valid yet",
    10: "the {peer}'s certificate has expired",
    18: "the {peer}'s certificate is signed by itself, and not trusted here",
    19: _UNTRUSTED,
    20: _UNTRUSTED,
    21: _UNTRUSTED,
    23: "the {peer}'s certificate was revoked",
    62: _OTHER_HOST,
    64: _OTHER_HOST,
}

_NO_VERSION = "there is no TLS version that both sides speak"
_REFUSED = "the {peer} does not accept our certificate"

# By OpenSSL's reason; an ALERT is what the peer has said (RFC 8446 §6.2).
_REASONS = {
    **dict.fromkeys(PLAIN_HTTP, "the {peer} speaks plain HTTP, not TLS"),
    "NO_PROTOCOLS_AVAILABLE": _NO_VERSION,
    "NO_SHARED_CIPHER": "there is no cipher that both sides support, or no certificate of ours",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the {peer} has sent no certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": _REFUSED,
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "the {peer} says that our certificate has expired",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": _REFUSED,
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "the {peer} wants what we do not have: a cipher, or a certificate",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "the {peer} wants a certificate of ours",
    "TLSV1_ALERT_PROTOCOL_VERSION": _NO_VERSION,
    "TLSV1_ALERT_UNKNOWN_CA": "the {peer} does not trust the authority that has signed our certificate",
    "TLSV1_UNRECOGNIZED_NAME": "the {peer} does not know the name that it was called by",
    "UNSUPPORTED_PROTOCOL": _NO_VERSION,
}


def eof_error(message: str) -> ssl.SSLEOFError:
    """The error for an end that TLS did not announce."""
    return ssl.SSLEOFError(ssl.SSL_ERROR_EOF, message)


def explain_tls(error: BaseException, peer: str) -> str:
    """Say what went wrong with TLS.

    Args:
        error: An `ssl.SSLError`, or whatever else ended it.
        peer: Who the other side is, "server" or "client".
    """
    if isinstance(error, ssl.SSLEOFError):
        # What ended the connection is behind it.
        lost = error.__cause__ and (error.__cause__.__cause__ or error.__cause__)
        return f"{error}: {lost}" if lost else str(error)
    text = re.sub(r"^\[.*?\] | \(_ssl\.c:\d+\)$", "", str(error))
    if (words := _words_for(error, text)) is None:
        return text
    return f"{words.format(peer=peer)} ({text})"


def _words_for(error: BaseException, text: str) -> str | None:
    if any(words in text for words in _NO_RECORD):
        return "the {peer} does not speak TLS"
    if isinstance(error, ssl.SSLCertVerificationError):
        return _VERIFYING.get(error.verify_code)
    return _REASONS.get(getattr(error, "reason", None) or "")
