"""The hub: one poller for all sockets of a run, fair to each, that leaves nothing behind."""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import socket
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import support
import trio
import trio.testing
from fakes import Owner, over_socket, unix_pair, until
from support import check_echo, connected_pair, serving, url_of

from trio_websocket import ConnectionClosed, open_websocket_url
from trio_websocket._kernel import Buffer
from trio_websocket._transports import SocketTransport, _hub
from trio_websocket._transports._hub import BUFFER_SIZE, Hub, hub_of_this_run, listening

settle = trio.testing.wait_all_tasks_blocked


def open_files() -> int:
    """How many files and sockets this process has open."""
    return len(os.listdir("/dev/fd"))


def hub_tasks() -> int:
    """How many tasks of a hub live in this run."""
    root = trio.lowlevel.current_root_task()
    assert root is not None
    return sum(
        task.name.startswith("trio_websocket")
        for nursery in root.child_nurseries
        for task in nursery.child_tasks
    )


def open_transport(owner: Owner) -> tuple[SocketTransport, socket.socket]:
    ours, theirs = unix_pair()
    transport = SocketTransport(ours)
    transport.set_owner(owner)
    return transport, theirs


# --------------------------------------------------------------------------------------------------- begin and end


async def test_hub_lives_as_long_as_there_is_a_socket() -> None:
    assert hub_tasks() == 0
    async with over_socket():
        hub = hub_of_this_run()
        async with over_socket():
            assert hub_of_this_run() is hub
        assert hub_of_this_run() is hub
        assert hub_tasks() == 2
    assert hub_tasks() == 0
    async with over_socket():
        assert hub_of_this_run() is not hub


async def test_hub_stays_for_who_listens_and_costs_nothing_meanwhile() -> None:
    with listening():
        assert hub_tasks() == 0
        transport, theirs = open_transport(Owner())
        hub: Any = hub_of_this_run()
        await transport.read_in_person()  # a look in vain
        assert hub._before_waiting is not None
        transport.abort()
        theirs.close()
        await settle()
        assert hub_tasks() == 2
        assert hub._before_waiting is None
        async with over_socket():
            assert hub_of_this_run() is hub
        with listening():
            pass
        await settle()
        assert hub_of_this_run() is hub
    await settle()
    assert hub_tasks() == 0


async def test_socket_that_comes_as_the_last_one_goes_is_served() -> None:
    files = open_files()
    first = Owner()
    transport, theirs = open_transport(first)
    await settle()
    with theirs:
        transport.abort()
        second = Owner()
        # The hub has not yet seen that it could end.
        transport, theirs_too = open_transport(second)
        with theirs_too:
            await first.lost.wait()
            theirs_too.send(b"x")
            await settle()
            assert second.data == b"x"
            transport.abort()
            await second.lost.wait()
            # Now it has.
            third = Owner()
            transport, theirs_three = open_transport(third)
            with theirs_three:
                theirs_three.send(b"y")
                await settle()
                assert third.data == b"y"
                transport.abort()
                await settle()
    assert hub_tasks() == 0
    assert open_files() == files


class Leaving:
    """The main task of a run that ends under open connections.

    Attributes:
        owners: What the connections told to.
        peers: Their other ends.
    """

    def __init__(self, how: str, when: str) -> None:
        self.owners = [Owner() for _ in range(3)]
        self.peers: list[socket.socket] = []
        self._how = how
        self._when = when

    async def run(self) -> None:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                for owner in self.owners:
                    await self._open(owner, nursery)
                if self._how == "is cancelled":
                    scope.cancel()
                    await trio.lowlevel.checkpoint()
                elif self._how == "raises":
                    raise KeyError
                nursery.cancel_scope.cancel()

    async def _open(self, owner: Owner, nursery: trio.Nursery) -> None:
        transport, theirs = open_transport(owner)
        self.peers.append(theirs)
        if self._when == "in person" and transport.can_read_in_person():
            nursery.start_soon(transport.read_in_person)
        elif self._when == "closing":
            transport.close(timeout=1000, linger=1000, shutdown=True)
        if self._when != "at once":
            await settle()
        if self._when == "with work put off":
            for part in (b"a", b"b"):
                transport.write(part)


@pytest.mark.parametrize("how", ["returns", "raises", "is cancelled"])
@pytest.mark.parametrize("when", ["at once", "settled", "with work put off", "in person", "closing"])
def test_nothing_is_left_of_a_run_that_ends_under_open_connections(how: str, when: str) -> None:
    main = Leaving(how, when)
    files = open_files()
    try:
        trio.run(main.run)
    except Exception:
        assert how == "raises"
    assert [owner.told for owner in main.owners] == [[("lost", None)]] * 3
    assert open_files() == files + 3
    for peer in main.peers:
        peer.close()
    # The next run knows nothing of it.
    trio.run(_echo_once)
    assert open_files() == files


def test_hub_that_is_cancelled_by_itself_takes_its_connections_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support, "over_sockets", True)
    errors: list[ConnectionClosed] = []

    async def main() -> None:
        async with connected_pair() as (client, server), trio.open_nursery() as nursery:

            async def receive() -> None:
                try:
                    await client.get_message()
                except ConnectionClosed as error:
                    errors.append(error)

            nursery.start_soon(receive)
            await settle()
            hub: Any = hub_of_this_run()
            hub._poll_scope.cancel()
            await client.wait_closed()
            await server.wait_closed()

    trio.run(main)
    assert len(errors) == 1


async def test_hub_that_cannot_begin_harms_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError(errno.EMFILE, "too many open files")

    owner = Owner()
    ours, theirs = unix_pair()
    transport = SocketTransport(ours)
    with monkeypatch.context() as patch:
        patch.setattr(_hub, "make_poller", fail)
        transport.set_owner(owner)
        await owner.lost.wait()
    assert isinstance(owner.error, trio.BrokenResourceError)
    assert "too many open files" in str(owner.error)
    assert ours.fileno() == -1
    theirs.close()
    assert hub_tasks() == 0
    async with over_socket() as (_, owner, theirs):
        theirs.send(b"x")
        await settle()
        assert owner.data == b"x"


async def test_poller_that_cannot_have_more_ends_one_connection_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with over_socket() as (_, owner, theirs):
        refused, peer = unix_pair()
        lost = Owner()

        class Full:
            def __getattr__(self, name: str) -> object:
                return getattr(poller, name)

            def add(self, fd: int) -> None:
                raise OSError(errno.ENOSPC, "no more watches")

        hub = hub_of_this_run()
        poller = hub._poller
        with monkeypatch.context() as patch:
            patch.setattr(hub, "_poller", Full())
            SocketTransport(refused).set_owner(lost)
            await lost.lost.wait()
        assert "no more watches" in str(lost.error)
        assert peer.recv(1) == b""
        peer.close()
        theirs.send(b"x")
        await settle()
        assert owner.data == b"x"


async def test_socket_whose_number_is_another_s_by_now_is_removed_alone() -> None:
    async with over_socket() as (transport, owner, theirs):

        class Stranger:
            fd = transport.fd

        hub_of_this_run().remove(Stranger())  # type: ignore[arg-type]
        assert hub_of_this_run()._sockets[transport.fd] is transport
        # The poller was made to forget it, which ending it has to bear.
        transport.abort()
        await owner.lost.wait()
        assert await trio.to_thread.run_sync(theirs.recv, 1) == b""


async def _echo_once() -> None:
    async with serving() as server, open_websocket_url(url_of(server)) as ws:
        await check_echo(ws)


def test_several_runs_one_after_another_have_hubs_of_their_own() -> None:
    files = open_files()
    for _ in range(3):
        trio.run(_echo_once)
    assert open_files() == files


def test_several_runs_at_once_have_hubs_of_their_own() -> None:
    hubs: list[Hub] = []
    errors: list[BaseException] = []
    all_are_open = threading.Barrier(3, timeout=30)

    async def main() -> None:
        async with serving() as server, open_websocket_url(url_of(server)) as ws:
            await check_echo(ws)
            hubs.append(hub_of_this_run())
            all_are_open.wait()
            await check_echo(ws)

    def run() -> None:
        try:
            trio.run(main)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len({id(hub) for hub in hubs}) == 3


# -------------------------------------------------------------------------------------------- other ways to run Trio


def run_as_guest(main: Callable[[], Any]) -> Any:
    """Run `main` as a guest of a loop that does nothing but call what it is given."""
    todo: queue.Queue[Callable[[], object]] = queue.Queue()
    done: list[Any] = []
    trio.lowlevel.start_guest_run(
        main,
        run_sync_soon_threadsafe=todo.put,
        done_callback=done.append,
        host_uses_signal_set_wakeup_fd=True,
    )
    while not done:
        todo.get(timeout=30)()
    return done[0].unwrap()


def test_guest_run_serves_sockets() -> None:
    files = open_files()
    run_as_guest(_echo_once)
    run_as_guest(_many_at_once)
    assert open_files() == files


async def _many_at_once() -> None:
    async with serving() as server, trio.open_nursery() as nursery:

        async def talk() -> None:
            async with open_websocket_url(url_of(server)) as ws:
                for _ in range(5):
                    await check_echo(ws)

        for _ in range(10):
            nursery.start_soon(talk)
        # The server ends with its block.
        while len(nursery.child_tasks) > 0:
            await trio.lowlevel.checkpoint()


async def test_many_connections_at_once_are_served() -> None:
    await _many_at_once()


async def test_clock_that_jumps_does_not_overtake_the_sockets(mock_clock: trio.testing.MockClock) -> None:
    async with over_socket() as (transport, owner, theirs), over_socket() as (_, other, peer):
        start = trio.current_time()
        for number in range(20):
            theirs.send(b"a")
            peer.send(b"b")
            transport.write(b"x")
            await trio.sleep(100)
            assert (owner.data, other.data) == (b"a" * (number + 1), b"b" * (number + 1))
        assert trio.current_time() - start == 2000


@contextlib.contextmanager
def forked(child: Callable[[], None]) -> Iterator[None]:
    """Run `child` in a copy of this process; it must end well. The block runs while it lives."""
    may_go_on, go_on = os.pipe()
    with warnings.catch_warnings():
        # Python warns if other threads live, such as those that Trio keeps for later.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(go_on)
            os.read(may_go_on, 1)
            child()
            status = 0
        finally:
            os._exit(status)
    try:
        yield
    finally:
        os.close(go_on)
        os.close(may_go_on)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")


@needs_fork
def test_fork_between_runs_gives_the_child_hubs_of_its_own() -> None:
    trio.run(_echo_once)
    with forked(lambda: trio.run(_echo_once)):
        pass
    trio.run(_echo_once)


@needs_fork
async def test_connections_live_on_when_the_process_was_forked() -> None:
    async with over_socket() as (transport, owner, theirs):
        await settle()
        with forked(lambda: None):
            # The child has all our descriptors, the poller's, too.
            theirs.send(b"while it lives")
            await settle()
            transport.write(b"reply")
            assert theirs.recv(100) == b"reply"
        theirs.send(b", and after")
        await settle()
        assert owner.data == b"while it lives, and after"


@needs_fork
async def test_socket_that_a_forked_child_keeps_open_is_told_of_no_more() -> None:
    async with over_socket() as (_, other, peer):
        owner = Owner()
        transport, theirs = open_transport(owner)
        with theirs, forked(lambda: None):
            fd = transport.fd
            transport.abort()
            await owner.lost.wait()
            # For the system, the socket is open still: the child has it.
            theirs.send(b"nobody's")
            async with over_socket() as (second, second_owner, _):
                assert second.fd == fd
                peer.send(b"x")
                await settle()
                assert other.data == b"x"
                assert second_owner.told == []
        assert [what for what, _ in owner.told] == ["lost"]


# --------------------------------------------------------------------------------------------------------- fairness


class Noting(Owner):
    """Notes the hub's turn of each thing that it is told."""

    def __init__(self, name: str, log: list[tuple[str, int, int]]) -> None:
        super().__init__()
        self._name = name
        self._log = log

    def data_received(self, data: Buffer) -> None:
        super().data_received(data)
        self._log.append((self._name, hub_of_this_run().turns.count, len(data)))


@pytest.mark.parametrize("receive_size", [None, 1000])
async def test_flood_on_one_socket_does_not_starve_another(receive_size: int | None) -> None:
    log: list[tuple[str, int, int]] = []
    limit = receive_size or BUFFER_SIZE
    async with (
        over_socket(owner=Noting("flooder", log), receive_size=receive_size) as (_, _, flooder),
        over_socket(owner=Noting("quiet", log)) as (_, quiet_owner, quiet),
    ):
        # Whenever the flooder was read from, it has sent more already.
        async def flood() -> None:
            while len(quiet_owner.told) < 10:
                with contextlib.suppress(BlockingIOError):
                    flooder.send(bytes(1 << 20))
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood)
            for number in range(10):
                sent_at = hub_of_this_run().turns.count
                quiet.send(b"x")
                await until(lambda: len(quiet_owner.told) > number)  # noqa: B023 # it is awaited here
                [*_, told_at] = (turn for name, turn, _ in log if name == "quiet")
                # What was put off until this turn and the next, and the next look at the poller; whatever the flood.
                assert told_at - sent_at <= 3
    sizes_of_turns: dict[int, int] = {}
    for name, turn, size in log:
        if name == "flooder":
            sizes_of_turns[turn] = sizes_of_turns.get(turn, 0) + size
    assert len(sizes_of_turns) >= 10
    assert max(sizes_of_turns.values()) <= limit


async def test_peer_that_does_not_read_gets_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support, "over_sockets", True)
    message = bytes(1000)
    async with connected_pair(write_backlog=10_000, message_queue_size=2) as (client, server):
        sent = 0
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                nonlocal sent
                while True:
                    await client.send_message(message)
                    sent += 1

            nursery.start_soon(send)
            await until(lambda: client._link.senders is not None)
            await settle()
            assert client._link.transport.backlog <= 10_000 + len(message) + 14
            assert len(server._link.inbox.messages) == 3
            before = sent
            for _ in range(100):
                await trio.lowlevel.checkpoint()
            assert sent == before
            # It goes on as the peer reads.
            for _ in range(3):
                assert await server.get_message() == message
            nursery.cancel_scope.cancel()


# ------------------------------------------------------------------------------------------------ reused descriptors


async def test_descriptor_that_is_used_anew_is_not_taken_for_the_old_one() -> None:
    async with over_socket():
        owner = Owner()
        transport, theirs = open_transport(owner)
        await settle()
        with theirs:
            # It has news, and is closed before the hub has looked.
            theirs.send(b"stale")
            fd = transport.fd
            transport.abort()
            async with over_socket() as (second, second_owner, second_theirs):
                assert second.fd == fd
                await settle()
                assert second_owner.told == []
                second_theirs.send(b"x")
                await settle()
                assert second_owner.told == [("data", b"x")]
            assert owner.told == [("lost", None)]


async def test_socket_that_another_closes_in_the_same_poll_is_passed_over() -> None:
    class Closing(Owner):
        def data_received(self, data: Buffer) -> None:
            super().data_received(data)
            for transport in transports:
                transport.abort()

    transports: list[SocketTransport] = []
    async with (
        over_socket(owner=Closing()) as (one, first, theirs),
        over_socket(owner=Closing()) as (other, second, peer),
    ):
        transports += [one, other]
        await settle()
        theirs.send(b"x")
        peer.send(b"x")
        await settle()
        # Whoever is served first.
        told = sorted([first.told, second.told], key=len)
        assert told == [[("lost", None)], [("data", b"x"), ("lost", None)]]


# ------------------------------------------------------------------------------------------------------- quiet or busy


async def test_hub_is_busy_when_several_are_served_at_once_and_quiet_again_when_they_are_few() -> None:
    async with contextlib.AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(over_socket()) for _ in range(3)]
        hub: Any = hub_of_this_run()
        await settle()
        assert hub.pace.is_quiet
        for _, _, theirs in opened:
            theirs.send(b"x")
        await settle()
        assert not hub.pace.is_quiet
        polls = 0
        while not hub.pace.is_quiet:
            assert not opened[0][0].can_read_in_person()
            opened[0][2].send(b"x")
            await settle()
            polls += 1
        assert polls == 8
        assert opened[0][0].can_read_in_person()


async def test_one_who_waits_in_person_waits_on_when_the_hub_gets_busy() -> None:
    async with contextlib.AsyncExitStack() as stack:
        transport, owner, theirs = await stack.enter_async_context(over_socket())
        opened = [await stack.enter_async_context(over_socket()) for _ in range(3)]
        async with trio.open_nursery() as nursery:
            await transport.read_in_person()  # a look in vain
            nursery.start_soon(transport.read_in_person)
            await settle()
            for _, _, peer in opened:
                peer.send(b"x")
            await settle()
            assert not hub_of_this_run().pace.is_quiet
            assert len(nursery.child_tasks) == 1
            theirs.send(b"x")
        assert owner.data == b"x"
        # But not again.
        assert not transport.can_read_in_person()


async def test_busy_hub_looks_before_the_tasks_run() -> None:
    async with contextlib.AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(over_socket()) for _ in range(3)]
        hub = hub_of_this_run()
        await settle()
        for rounds in range(20):
            for _, _, theirs in opened:
                theirs.send(b"x")
            await trio.lowlevel.checkpoint()
            while not rounds and hub.pace.is_quiet:
                await trio.lowlevel.checkpoint()
            assert [len(owner.data) for _, owner, _ in opened] == [rounds + 1] * 3
        # Quiet again, it leaves the run alone.
        await settle()
        turns = hub.turns.count
        for _ in range(5):
            await trio.lowlevel.checkpoint()
        assert hub.turns.count == turns
