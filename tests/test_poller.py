"""Both poll sets: what is ready is served, what is masked or gone is not; a bug ends one connection only."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from rig.plane import descriptors, unix_pair

from shim.proxy.poller import BATCH, BROKEN, HUP, IN, OUT, EpollPoller, Poller, SelectorPoller, new_poller


class Owner:
    """Serves one socket and remembers what it was told."""

    def __init__(self, poller: Poller, sock: socket.socket, then: Callable[[int], object] = lambda _events: None):
        self.poller = poller
        self.sock = sock
        self.then = then
        self.served: list[int] = []
        self.other: list[int] = []
        self.aborted: list[str] = []

    def serve(self, events: int) -> None:
        self.served.append(events)
        self.then(events)

    def serve_otherwise(self, events: int) -> None:
        self.other.append(events)

    def abort(self, reason: str) -> None:
        self.aborted.append(reason)
        self.close()

    def close(self) -> None:
        self.poller.forget(self.sock.fileno())
        self.sock.close()

    def watch(self, events: int = IN) -> None:
        self.poller.register(self.sock.fileno(), events, self.serve)


class Setting:
    """A poll set, its faults, and as many connected owners as a test asks for."""

    def __init__(self, make: type[Poller]) -> None:
        self.faults: list[Exception] = []
        self.poller = make(self.faults.append)
        self.stack = ExitStack()

    def owner(self, then: Callable[[int], object] = lambda _events: None) -> tuple[Owner, socket.socket]:
        near, far = unix_pair()
        self.stack.enter_context(near)
        self.stack.enter_context(far)
        near.setblocking(False)
        return Owner(self.poller, near, then), far

    def ready(self) -> bool:
        return bool(select.select([self.poller], [], [], 0)[0])


@pytest.fixture(params=[EpollPoller, SelectorPoller])
def setting(request: pytest.FixtureRequest) -> Iterator[Setting]:
    before = descriptors()
    setting = Setting(request.param)
    yield setting
    setting.stack.close()
    setting.poller.close()
    assert not descriptors() - before


@pytest.fixture
def epoll() -> Iterator[Setting]:
    setting = Setting(EpollPoller)
    yield setting
    setting.stack.close()
    setting.poller.close()


def test_the_loop_sees_one_descriptor_for_all(setting: Setting) -> None:
    pairs = [setting.owner() for _ in range(3)]
    for owner, _ in pairs:
        owner.watch()
    assert not setting.ready()
    pairs[1][1].send(b"x")
    assert setting.ready()
    setting.poller.dispatch()
    assert [owner.served for owner, _ in pairs] == [[], [IN], []]


def test_what_is_left_unread_is_reported_again(setting: Setting) -> None:
    owner, far = setting.owner()
    owner.watch()
    far.send(b"x")
    for _ in range(3):
        setting.poller.dispatch()
    assert owner.served == [IN, IN, IN]


def test_masks_are_obeyed(setting: Setting) -> None:
    owner, far = setting.owner()
    far.send(b"x")
    fd = owner.sock.fileno()
    owner.watch(OUT)
    for mask in (IN, IN | OUT, 0):
        setting.poller.dispatch()
        setting.poller.modify(fd, mask)
    setting.poller.dispatch()
    assert owner.served == [OUT, IN, IN | OUT]
    assert not setting.ready()
    setting.poller.modify(fd, IN)
    assert setting.ready()


def test_another_method_can_take_over(setting: Setting) -> None:
    owner, far = setting.owner()
    owner.watch()
    far.send(b"x")
    setting.poller.dispatch()
    setting.poller.rebind(owner.sock.fileno(), owner.serve_otherwise)
    setting.poller.dispatch()
    assert (owner.served, owner.other) == ([IN], [IN])


def test_the_end_of_the_other_side_can_be_read(setting: Setting) -> None:
    owner, far = setting.owner()
    owner.watch()
    far.close()
    setting.poller.dispatch()
    assert owner.served[0] & IN
    assert owner.sock.recv(1) == b""


def test_hang_up_is_reported_though_nothing_is_wanted(epoll: Setting) -> None:
    owner, far = epoll.owner()
    owner.watch(0)
    assert not epoll.ready()
    far.close()
    epoll.poller.dispatch()
    assert owner.served == [HUP]
    assert owner.served[0] & BROKEN


def test_unwatched_means_silent_until_registered_again(setting: Setting) -> None:
    owner, far = setting.owner()
    owner.watch(IN)
    far.send(b"x")
    far.close()
    setting.poller.unwatch(owner.sock.fileno())
    assert not setting.ready()
    setting.poller.dispatch()
    assert owner.served == []
    owner.watch(IN)
    setting.poller.dispatch()
    assert owner.served[0] & IN


def test_closed_by_an_earlier_handler_of_the_same_batch(setting: Setting) -> None:
    pairs: list[tuple[Owner, socket.socket]] = []

    def close_the_others(_events: int) -> None:
        for owner, _ in pairs:
            if not owner.served:
                owner.close()

    pairs += [setting.owner(close_the_others) for _ in range(5)]
    for owner, far in pairs:
        owner.watch()
        far.send(b"x")
    setting.poller.dispatch()
    assert sorted(len(owner.served) for owner, _ in pairs) == [0, 0, 0, 0, 1]


def test_a_number_taken_anew_in_the_same_batch_is_at_worst_woken_for_nothing(setting: Setting) -> None:
    pairs: list[tuple[Owner, socket.socket]] = []
    newcomers: list[Owner] = []

    def replace_another(_events: int) -> None:
        if newcomers:
            return
        doomed = next(owner for owner, _ in pairs if not owner.served)
        number = doomed.sock.fileno()
        doomed.close()
        newcomer, _ = setting.owner()
        if newcomer.sock.fileno() == number:
            newcomers.append(newcomer)
            newcomer.watch()

    pairs += [setting.owner(replace_another) for _ in range(2)]
    for owner, far in pairs:
        owner.watch()
        far.send(b"x")
    setting.poller.dispatch()
    assert len(newcomers) == 1
    with pytest.raises(BlockingIOError):
        newcomers[0].sock.recv(1)
    assert setting.faults == []
    assert sum(len(owner.served) for owner, _ in pairs) == 1


def test_more_than_one_batch_is_served_without_starving_anyone(setting: Setting) -> None:
    pairs = [setting.owner() for _ in range(BATCH + 20)]
    for owner, far in pairs:
        owner.then = lambda _events, owner=owner: owner.sock.recv(10)
        owner.watch()
        far.send(b"x")
    turns = 0
    while setting.ready() and turns < 10:
        setting.poller.dispatch()
        turns += 1
    assert [len(owner.served) for owner, _ in pairs] == [1] * len(pairs)


def test_a_bug_ends_its_own_connection_and_is_reported(setting: Setting) -> None:
    def bug(_events: int) -> None:
        raise ZeroDivisionError

    broken, far = setting.owner(bug)
    sane, other = setting.owner()
    for owner, sock in ((broken, far), (sane, other)):
        owner.watch()
        sock.send(b"x")
    setting.poller.dispatch()
    assert [type(fault) for fault in setting.faults] == [ZeroDivisionError]
    assert broken.aborted == ["fault"]
    assert (sane.served, sane.aborted) == ([IN], [])


def test_one_that_cannot_even_give_up_is_left_alone_from_then_on(setting: Setting) -> None:
    def bug(_events: int) -> None:
        owner.sock = None  # type: ignore[assignment]  # so that abort fails as well
        raise ZeroDivisionError

    owner, far = setting.owner(bug)
    owner.watch()
    far.send(b"x")
    setting.poller.dispatch()
    assert [type(fault) for fault in setting.faults] == [ZeroDivisionError, AttributeError]
    assert not setting.ready(), "it would be served for ever"
    assert setting.poller.owners() == []


def test_owners_are_listed_once_each(setting: Setting) -> None:
    owner, far = setting.owner()
    other, _ = setting.owner()
    owner.watch()
    other.watch()
    setting.poller.register(far.fileno(), IN, owner.serve_otherwise)
    assert setting.poller.owners() == [owner, other]
    setting.poller.forget(far.fileno())
    other.close()
    assert setting.poller.owners() == [owner]


def test_linux_gets_epoll() -> None:
    poller = new_poller(lambda _error: None)
    assert isinstance(poller, EpollPoller) == hasattr(select, "epoll")
    poller.close()
