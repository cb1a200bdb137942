"""A desk in a thread, so that a test can say what it sees: the same code that runs as a process of its own."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread

from rig.lookers import TIMEOUT_S
from shim.witness.desk import CAPACITY, Desk
from shim.witness.looking import Looker


@contextmanager
def desk(
    near: Looker,
    far: Looker | None = None,
    capacity: int = CAPACITY,
    pair: tuple[socket.socket, socket.socket] | None = None,
) -> Iterator[socket.socket]:
    """The end of the socket that questions go into. The thread has ended when the context does."""
    ours, theirs = pair or socket.socketpair()
    thread = Thread(target=Desk(theirs, near, far or near, capacity).run, name="desk", daemon=True)
    thread.start()
    try:
        yield ours
    finally:
        with suppress(OSError):  # whoever asked has closed it already
            ours.shutdown(socket.SHUT_RDWR)
        ours.close()
        thread.join(TIMEOUT_S)
        assert not thread.is_alive(), "the desk does not end"
