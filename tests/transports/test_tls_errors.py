"""What is said when TLS fails."""

from __future__ import annotations

import ssl

import pytest

from trio_websocket._transports import explain_tls
from trio_websocket._transports._tls_errors import ANSWER_TO_PLAIN_HTTP


def failure(reason: str, text: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}] {text} (_ssl.c:1006)")
    error.reason = reason
    return error


def verification(code: int, text: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(
        1, f"[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: {text} (_ssl.c:1006)"
    )
    error.verify_code = code
    return error


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            verification(10, "certificate has expired"),
            "the server's certificate has expired (certificate verify failed: certificate has expired)",
        ),
        (verification(1, "unspecified"), "certificate verify failed: unspecified"),
        (
            failure("TLSV1_ALERT_UNKNOWN_CA", "tlsv1 alert unknown ca"),
            "the server does not trust the authority that has signed our certificate (tlsv1 alert unknown ca)",
        ),
        (failure("BAD_LENGTH", "bad length"), "bad length"),
        # OpenSSL's words, before 3.2 and since.
        (
            failure("WRONG_VERSION_NUMBER", "wrong version number"),
            "the server does not speak TLS (wrong version number)",
        ),
        (
            ssl.SSLError(1, "[SSL] record layer failure (_ssl.c:1033)"),
            "the server does not speak TLS (record layer failure)",
        ),
        (ssl.SSLError(1, "the peer makes TLS answer"), "the peer makes TLS answer"),
        (ValueError("check_hostname requires server_hostname"), "check_hostname requires server_hostname"),
    ],
)
def test_reason_stands_before_openssls_own_words(error: Exception, text: str) -> None:
    assert explain_tls(error, "server") == text


def test_other_side_is_called_by_its_name() -> None:
    error = failure("HTTP_REQUEST", "http request")
    assert explain_tls(error, "client") == "the client speaks plain HTTP, not TLS (http request)"


def test_end_of_the_connection_says_what_ended_it() -> None:
    error = ssl.SSLEOFError(8, "the connection was lost")
    assert explain_tls(error, "server") == "the connection was lost"
    error.__cause__ = OSError("reset")
    assert explain_tls(error, "server") == "the connection was lost: reset"
    error.__cause__.__cause__ = OSError("reset by peer")
    assert explain_tls(error, "server") == "the connection was lost: reset by peer"


def test_answer_to_plain_http_has_the_length_that_it_says() -> None:
    head, _, body = ANSWER_TO_PLAIN_HTTP.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"\r\nContent-Length: %d" % len(body) in head
