"""What the connections of a Trio run share: how busy they are, and how often a call that need not wait lets others run.

Trio's rule is that every async call is a checkpoint. A full one costs a turn of the scheduler, several times what a small
message costs; so a call checks for cancellation every time, and yields once in `CALLS_A_TURN` calls. As all connections of a
run count together, a task that always finds something to do can't starve the others, on however many connections.
"""

from __future__ import annotations

import trio

__all__ = ["CALLS_A_TURN", "Pace", "pace_of_this_run"]

CALLS_A_TURN = 128


class Pace:
    """Counts the calls that did not wait, and knows whether few sockets are busy.

    Attributes:
        calls_left: How many more may follow; `CALLS_A_TURN` again for who has waited.
        is_quiet: Whether `Transport.can_read_in_person` is worth a call; the hub says so.
    """

    __slots__ = ("calls_left", "is_quiet")

    def __init__(self) -> None:
        self.calls_left: int = CALLS_A_TURN
        self.is_quiet: bool = False

    def is_due(self) -> bool:
        """Count one call; whether it has to yield."""
        self.calls_left -= 1
        if self.calls_left > 0:
            return False
        self.calls_left = CALLS_A_TURN
        return True

    async def let_others_run(self) -> None:
        """Yield, for who has counted its call itself and found that it is the last. It can't be cancelled."""
        self.calls_left = CALLS_A_TURN
        await trio.lowlevel.cancel_shielded_checkpoint()


_pace: trio.lowlevel.RunVar[Pace] = trio.lowlevel.RunVar("trio_websocket pace")


def pace_of_this_run() -> Pace:
    """The pace of the Trio run that calls."""
    try:
        return _pace.get()
    except LookupError:
        pace = Pace()
        _pace.set(pace)
        return pace
