"""The options that all clients share, and the connection that they ask for."""

from __future__ import annotations

import functools
import math
import os
import ssl
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, fields
from typing import Any, ParamSpec, TypeVar

import click

from trio_websocket import (
    Heartbeat,
    WebSocketConnection,
    open_reconnecting_websocket_url,
    open_websocket_url,
)
from trio_websocket._cli._receive import Socket

__all__ = ["NOT_NEGATIVE", "POSITIVE", "Target", "takes_target"]

_P = ParamSpec("_P")
_T = TypeVar("_T")


class _Number(click.FloatRange):
    """A number, where Python would take NaN and infinity as well."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is no finite number", param, ctx)
        return number


NOT_NEGATIVE = _Number(min=0)
POSITIVE = _Number(min=0, min_open=True)

# Received messages that may wait for us; those that wait are written at once.
_QUEUE = 256


@dataclass(frozen=True)
class Target:
    """Which connection to open, and how."""

    url: str
    header: tuple[tuple[bytes, bytes], ...] = ()
    subprotocol: tuple[str, ...] = ()
    timeout: float = 10.0
    heartbeat: float | None = None
    compression: bool = False
    proxy: str | None = None
    max_redirects: int = 0
    ca: str | None = None
    insecure: bool = False
    max_size: float = 2**24

    def open(self) -> AbstractAsyncContextManager[WebSocketConnection]:
        """Open the connection, for the length of an `async with` block.

        Raises:
            ValueError: An option can't be right.
        """
        context, options = self._arguments()
        return open_websocket_url(self.url, context, **options)

    def open_socket(self, *, reconnect: bool) -> AbstractAsyncContextManager[Socket]:
        """As `open`; with `reconnect`, what is lost is opened again."""
        if not reconnect:
            return self.open()
        context, options = self._arguments()
        return open_reconnecting_websocket_url(self.url, context, **options)

    def _arguments(self) -> tuple[ssl.SSLContext | None, dict[str, Any]]:
        options: dict[str, Any] = {
            "subprotocols": self.subprotocol,
            "extra_headers": self.header,
            "connect_timeout": self.timeout,
            "disconnect_timeout": self.timeout,
            "max_message_size": self.max_size,
            "message_queue_size": _QUEUE,
            "compression": self.compression,
            "max_redirects": self.max_redirects,
        }
        if self.heartbeat is not None:
            options["heartbeat"] = Heartbeat(interval=self.heartbeat, timeout=self.heartbeat)
        if self.proxy is not None:
            options["proxy"] = True if self.proxy == "env" else self.proxy
        return self._ssl_context(), options

    def _ssl_context(self) -> ssl.SSLContext | None:
        if self.ca is None and not self.insecure:
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca)
        except ssl.SSLError as error:
            raise ValueError(f"{self.ca} has no certificates in PEM form: {error.reason}") from error
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def _header(
    _: click.Context, __: click.Parameter, values: tuple[str, ...]
) -> tuple[tuple[bytes, bytes], ...]:
    headers = []
    for value in values:
        name, colon, content = value.partition(":")
        if not colon:
            raise click.BadParameter(f"{value!r} is not NAME:VALUE")
        # What is no UTF-8 on the command line stands in Python's text as surrogates.
        headers.append((os.fsencode(name.strip()), os.fsencode(content.strip())))
    return tuple(headers)


_OPTIONS = [
    click.argument("url"),
    click.option(
        "-H",
        "--header",
        metavar="NAME:VALUE",
        multiple=True,
        callback=_header,
        help="Send this header; repeatable.",
    ),
    click.option(
        "-s", "--subprotocol", metavar="NAME", multiple=True, help="Propose this subprotocol; repeatable."
    ),
    click.option(
        "--timeout",
        metavar="SECONDS",
        type=POSITIVE,
        default=Target.timeout,
        show_default=True,
        help="How long opening may take, closing, and any answer that is waited for.",
    ),
    click.option(
        "--heartbeat",
        metavar="SECONDS",
        type=POSITIVE,
        help="Ping after so many seconds of silence, and give up after as many more.",
    ),
    click.option("--compression", is_flag=True, help="Offer compression (RFC 7692)."),
    click.option("--proxy", metavar="URL", help="Connect through this proxy; 'env': the environment's."),
    click.option(
        "--max-redirects",
        metavar="N",
        type=click.IntRange(min=0),
        default=Target.max_redirects,
        show_default=True,
        help="How many redirects to follow.",
    ),
    click.option(
        "--ca",
        metavar="FILE",
        type=click.Path(exists=True, dir_okay=False),
        help="Trust the authorities in this PEM file.",
    ),
    click.option("--insecure", is_flag=True, help="Take any certificate; for trying out only."),
    click.option(
        "--max-size",
        metavar="BYTES",
        type=click.IntRange(min=1),
        default=Target.max_size,
        show_default=True,
        help="The largest message to receive.",
    ),
]


def takes_target(function: Callable[..., _T]) -> Callable[..., _T]:
    """Give a command the argument URL and the options of a `Target`, which it gets as `target`."""

    @functools.wraps(function)
    def command(**arguments: Any) -> _T:
        target = Target(**{field.name: arguments.pop(field.name) for field in fields(Target)})
        try:
            # What can't be right is said before anything happens.
            target.open()
        except (ValueError, ModuleNotFoundError) as error:
            raise click.UsageError(str(error)) from error
        return function(target=target, **arguments)

    for option in reversed(_OPTIONS):
        command = option(command)
    return command
