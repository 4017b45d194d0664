"""Running a server's handler for one request, so that whatever it does ends one connection and no more."""

from __future__ import annotations

import logging
import sys
from collections.abc import Awaitable, Callable

import trio

from trio_websocket._connection import CANCEL_GRACE
from trio_websocket._request import WebSocketRequest, awaits_answer, finish_request, has_ended_with

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

__all__ = ["Handler", "run_handler"]

logger = logging.getLogger("trio-websocket")

Handler = Callable[[WebSocketRequest], Awaitable[None]]


async def run_handler(handler: Handler, request: WebSocketRequest) -> None:
    """Call `handler`, and bring its request or connection to an end.

    An exception closes the connection with 1011 and is logged, with its traceback. Cancelling closes it with 1001, within
    two seconds. Only what is no `Exception`, such as a cancellation, comes out.
    """
    try:
        await handler(request)
    except BaseException as error:
        failure, passing = _split(error)
        if passing is not None:
            if failure is not None:
                _log_failure(request, failure)
            with trio.CancelScope(shield=True, deadline=trio.current_time() + CANCEL_GRACE):
                await finish_request(request, 1001, "server is going away", 503)
            raise passing from None
        assert failure is not None
        _log_failure(request, failure)
        # What is caught knows this frame, which must not know it in turn.
        del failure, error
        await finish_request(request, 1011, "internal error", 500, grace=CANCEL_GRACE)
    else:
        if awaits_answer(request):
            logger.error("%s: the handler returned without an answer", request)
        await finish_request(request, 1000, None, 500, grace=CANCEL_GRACE)


def _split(error: BaseException) -> tuple[BaseException | None, BaseException | None]:
    """What the handler did wrong, and what is none of its business: a cancellation, the interpreter's exit."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(Exception)
    return (error, None) if isinstance(error, Exception) else (None, error)


def _log_failure(request: WebSocketRequest, error: BaseException) -> None:
    if has_ended_with(request, error):
        logger.debug("%s: the connection ended under its handler", request)
    else:
        logger.error("%s: the handler failed", request, exc_info=error)
