"""How often a call that need not wait lets other tasks run.

Trio's rule is that every async call is a checkpoint. A full one costs a turn of the scheduler, several times what a small
message costs; so a call checks for cancellation every time, and yields once in `CALLS_A_TURN` calls. The count is shared by
all connections of a Trio run: a task that always finds something to do can't starve the others, on however many connections.
"""

from __future__ import annotations

import trio

__all__ = ["CALLS_A_TURN", "Turns", "turns_of_this_run"]

CALLS_A_TURN = 128


class Turns:
    """Counts the calls that did not wait.

    Attributes:
        left: How many more may follow; `CALLS_A_TURN` again for who has waited.
    """

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left: int = CALLS_A_TURN

    def is_due(self) -> bool:
        """Count one call; whether it has to yield."""
        self.left -= 1
        if self.left > 0:
            return False
        self.left = CALLS_A_TURN
        return True

    async def let_others_run(self) -> None:
        """Yield, for who has counted its call itself and found that it is the last. It can't be cancelled."""
        self.left = CALLS_A_TURN
        await trio.lowlevel.cancel_shielded_checkpoint()


_turns: trio.lowlevel.RunVar[Turns] = trio.lowlevel.RunVar("trio_websocket turns")


def turns_of_this_run() -> Turns:
    """The counter of the Trio run that calls."""
    try:
        return _turns.get()
    except LookupError:
        turns = Turns()
        _turns.set(turns)
        return turns
