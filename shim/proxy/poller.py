"""Which socket is ready, and whose method is called for it: one private, level-triggered poll set.

The poll set is nested in the event loop: its own descriptor becomes readable when any of its sockets is ready,
so the loop sees one reader whatever the number of tunnels. Knows no protocol and owns no socket.

Level-triggered on purpose: bytes that came in while another handler was in charge raise no new edge
(measured: such tunnels hung at 0 bytes).
"""

from __future__ import annotations

import contextlib
import select
import selectors
from collections.abc import Callable, Iterator
from typing import Protocol

IN, OUT, ERR, HUP = 0x001, 0x004, 0x008, 0x010
"""The bits of poll(2) and epoll(7)."""

BROKEN = ERR | HUP
BATCH = 256
"""Events taken in one call: enough to serve a burst, few enough that timers and signals get their turn."""

Handler = Callable[[int], None]


class Owner(Protocol):
    """Whoever's bound method is registered: it must know how to give everything up."""

    def abort(self, reason: str) -> None: ...


FaultHandler = Callable[[Exception], None]


class Poller:
    """The face of both poll sets: descriptors, the events wanted of each, and the bound method that serves it."""

    modify: Callable[[int, int], None]
    """Want other events (the second) of a descriptor (the first); 0 means only that it broke."""

    def __init__(self, on_fault: FaultHandler) -> None:
        self._handlers: dict[int, Handler] = {}
        self._on_fault = on_fault

    def fileno(self) -> int:
        """The descriptor that the event loop watches."""
        raise NotImplementedError

    def register(self, fd: int, events: int, handler: Handler) -> None:
        """Start watching `fd`."""
        raise NotImplementedError

    def rebind(self, fd: int, handler: Handler) -> None:
        """Let another method serve `fd`; no system call."""
        self._handlers[fd] = handler

    def forget(self, fd: int) -> None:
        """Stop serving `fd`, which is about to be closed."""
        raise NotImplementedError

    def unwatch(self, fd: int) -> None:
        """Stop watching `fd`, even for what cannot be masked; `register` watches it again."""
        raise NotImplementedError

    def dispatch(self) -> None:
        """Serve what is ready now."""
        raise NotImplementedError

    def close(self) -> None:
        """Give up the poll set itself."""
        raise NotImplementedError

    def owners(self) -> list[Owner]:
        """Everyone with a socket registered, once each."""
        return list({id(owner): owner for owner in self._owners()}.values())

    def owner(self, fd: int) -> Owner | None:
        """Whoever serves `fd` at present."""
        handler = self._handlers.get(fd)
        return None if handler is None else handler.__self__  # type: ignore[attr-defined]

    def _owners(self) -> Iterator[Owner]:
        for handler in self._handlers.values():
            yield handler.__self__  # type: ignore[attr-defined]

    def _serve(self, fd: int, events: int) -> None:
        # Looked up at dispatch time: an earlier handler of the same batch may have closed this descriptor,
        # and its number may serve a new socket by now, for which a spurious wake-up is harmless.
        handler = self._handlers.get(fd)
        if handler is None:
            return
        try:
            handler(events)
        except Exception as error:
            self._end(fd, handler, error)

    def _end(self, fd: int, handler: Handler, error: Exception) -> None:
        """A bug in `handler`: one connection's must not end the others."""
        self._on_fault(error)
        try:
            handler.__self__.abort("fault")  # type: ignore[attr-defined]
        except Exception as second:
            self._on_fault(second)
            if self._handlers.get(fd) == handler:  # still there: it would be ready, and fail, for ever
                with contextlib.suppress(OSError):
                    self.unwatch(fd)
                self.forget(fd)


class EpollPoller(Poller):
    """epoll(7): Linux."""

    def __init__(self, on_fault: FaultHandler) -> None:
        super().__init__(on_fault)
        self._epoll = select.epoll()
        self.modify = self._epoll.modify

    def fileno(self) -> int:
        return self._epoll.fileno()

    def register(self, fd: int, events: int, handler: Handler) -> None:
        self._handlers[fd] = handler
        self._epoll.register(fd, events)

    def forget(self, fd: int) -> None:
        # close(2) takes the descriptor out of the set by itself: one system call saved a socket.
        self._handlers.pop(fd, None)

    def unwatch(self, fd: int) -> None:
        self._epoll.unregister(fd)

    def dispatch(self) -> None:
        handlers = self._handlers
        for fd, events in self._epoll.poll(0, BATCH):
            handler = handlers.get(fd)
            if handler is None:
                continue
            try:
                handler(events)
            except Exception as error:  # as in _serve, which is spelt out here for speed
                self._end(fd, handler, error)

    def close(self) -> None:
        self._epoll.close()


class SelectorPoller(Poller):
    """The same over `selectors` (kqueue and others), for systems without epoll."""

    def __init__(self, on_fault: FaultHandler) -> None:
        super().__init__(on_fault)
        self._selector = selectors.DefaultSelector()
        self._wanted: dict[int, int] = {}
        self.modify = self._want

    def fileno(self) -> int:
        return self._selector.fileno()

    def register(self, fd: int, events: int, handler: Handler) -> None:
        self._handlers[fd] = handler
        self._want(fd, events)

    def forget(self, fd: int) -> None:
        self._handlers.pop(fd, None)
        self._want(fd, 0)

    def unwatch(self, fd: int) -> None:
        self._want(fd, 0)

    def dispatch(self) -> None:
        for key, ready in self._selector.select(0):
            events = (IN if ready & selectors.EVENT_READ else 0) | (OUT if ready & selectors.EVENT_WRITE else 0)
            self._serve(key.fd, events)

    def close(self) -> None:
        self._selector.close()

    def _want(self, fd: int, events: int) -> None:
        mask = (selectors.EVENT_READ if events & IN else 0) | (selectors.EVENT_WRITE if events & OUT else 0)
        before = self._wanted.pop(fd, 0)
        if mask:
            self._wanted[fd] = mask
            (self._selector.modify if before else self._selector.register)(fd, mask)
        elif before:
            self._selector.unregister(fd)


def new_poller(on_fault: FaultHandler) -> Poller:
    """The best poll set of this system."""
    return EpollPoller(on_fault) if hasattr(select, "epoll") else SelectorPoller(on_fault)
