"""Given the same bytes, cut at the same places, the two kernels do the same: each result, each error, each fact."""

from __future__ import annotations

import atexit
import importlib
import socket
from collections.abc import Callable
from typing import Any, Final

from inputs import Outcome, Step, Wire, outcome, split

PLAIN: Final = importlib.import_module("trio_websocket._kernel._py")
COMPILED: Final = importlib.import_module("trio_websocket._kernel._cy")
OURS, THEIRS = socket.socketpair()
OURS.setblocking(False)
atexit.register(OURS.close)
atexit.register(THEIRS.close)
MAX_IN_SOCKET: Final = 50_000  # it takes more
MAX_STEPS_TO_END: Final = 30
RECEIVE_ALL, MESSAGE, HEADER, PART = Step(0, 25), Step(2, 31), Step(4, 0), Step(6, 0)


class Run:
    """One kernel at work."""

    def __init__(self, kernel: Any, wire: bytes) -> None:
        self.kernel = kernel
        self.decoder = kernel.FrameDecoder()
        self.wire = Wire(wire)
        self.mask = wire[:4]
        self.messages = kernel.MessageQueue(2, 5000)
        self.receivers: list[int | None] = []
        self.told: list[tuple[Any, ...]] = []
        is_masked = bool(wire[4:5] > b"\x7f")
        self.intake = kernel.Intake(
            self.decoder, is_masked, 1000, self.messages, self.receivers, self.tell, self.tell
        )
        self.inlet = kernel.Inlet(OURS.fileno(), MAX_IN_SOCKET, 1000)
        self.inlet.owner, self.inlet.intake = self, self.intake
        self.last: bytes | str = b""

    def step(self, step: Step) -> Outcome:
        """Do something, keep what was read, and tell what came of it."""
        decoder, number, size = self.decoder, step.number, step.size
        steps: list[Callable[[], Any]] = [
            lambda: decoder.receive_data(self.wire.take(size)),
            lambda: decoder.fill(lambda view: self.receive(view, number, size)),
            lambda: decoder.read_message(bool(number & 1), size),
            lambda: self.take_in(number, size),
            decoder.read_header,
            decoder.read_payload,
            decoder.read_part,
            lambda: self.write(number, size) if number else self.change_plain(),
        ]
        result = outcome(steps[step.action])
        if result[0] in {bytes, str}:
            self.last = result[1]
        return result

    def tell(self, *what: Any) -> None:
        """What intake and inlet call."""
        self.told.append(what)

    read_on = tell

    def read_failed(self, error: Exception) -> None:
        """What the inlet calls."""
        self.tell(type(error))

    def take_in(self, number: int, size: int) -> Any:
        """Let somebody wait, or not, and give the intake something."""
        if number & 1:
            self.receivers.append(number if number & 2 else None)
        if number & 4:
            THEIRS.send(self.wire.take(min(size, MAX_IN_SOCKET)))
            return self.inlet.read(memoryview(bytearray(MAX_IN_SOCKET)))
        if number & 8:
            self.messages.put("waits")
            return self.intake.exchange()
        return self.intake.receive_data(self.wire.take(size))

    def change_plain(self) -> None:
        """Let messages be read, or let them not be."""
        self.decoder.is_plain = not self.decoder.is_plain

    def receive(self, view: memoryview, number: int, size: int) -> int:
        """What `fill` calls: it may fail, or tell nonsense."""
        if number == 1:
            raise BlockingIOError
        if number == 2:
            return len(view) + 1
        data = self.wire.take(min(size, len(view)))
        view[: len(data)] = data
        return len(data) if number != 3 else -1

    def write(self, number: int, size: int) -> tuple[Outcome, ...]:
        """Write what was read last."""
        mask = self.mask if number & 1 else None
        bits: dict[str, Any] = {"fin": bool(number & 2), "rsv": number >> 2, "mask": mask}
        return (
            outcome(self.kernel.encode_frame, number & 15, self.last, **bits),
            outcome(self.kernel.encode_message, self.last, size, mask),
            outcome(self.kernel.encode_header, number & 15, size, **bits),
            outcome(self.kernel.apply_mask, self.last, self.mask, size),
        )

    def facts(self) -> tuple[Any, ...]:
        """All that can be seen of a decoder."""
        decoder = self.decoder
        facts = self.wire.position, decoder.remaining, decoder.unread, decoder.is_filling
        messages = len(self.messages), self.messages.size, self.messages.is_full
        return *facts, decoder.is_plain, self.inlet.is_alive, self.told, self.receivers, messages


def check(data: bytes) -> None:
    """The target."""
    start, steps, wire = split(data)
    for read, number in (("read_fields", start), ("read_request", 128)):
        first, second = (outcome(getattr(kernel, read), wire, number) for kernel in (PLAIN, COMPILED))
        assert first == second, (wire, number, first, second)
    runs = Run(PLAIN, wire), Run(COMPILED, wire)
    for step in steps:
        check_step(runs, step)
    # To the end as a session does it: the quick way as long as it goes, else header and payload.
    check_step(runs, RECEIVE_ALL)
    for _ in range(MAX_STEPS_TO_END):
        if check_step(runs, MESSAGE)[1] is None and check_step(runs, HEADER)[1] is None:
            check_step(runs, PART)
    for run in runs:
        run.decoder.close()
    check_step(runs, RECEIVE_ALL)


def check_step(runs: tuple[Run, Run], step: Step) -> Outcome:
    """Let both take this step, and hold them against each other."""
    first, second = (run.step(step) for run in runs)
    assert first == second, (step, first, second)
    facts = [run.facts() for run in runs]
    assert facts[0] == facts[1], (step, facts)
    return first
