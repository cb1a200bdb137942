"""The event bus: takes events from the data plane and hands them to subscribers, in order and in batches.

Knows nothing of what an event means, and never waits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from shim.events import Event, Fault
from shim.record import Schedule

Subscriber = Callable[[Event], Iterable[Event] | None]
"""Takes one event; may return events that follow from it (the correlator's findings)."""

_CONSEQUENCES_MAX = 1024
"""Events that may follow from one, all generations together: a subscriber that answers itself must not run for ever."""

_ROUNDS_MAX = 8
"""How often one flush looks again for what subscribers published meanwhile; the rest waits for the timer."""


class Bus:
    """Publish is an append; delivery happens `delay_s` seconds later, or at once when `batch` events wait."""

    __slots__ = (
        "_batch",
        "_delay_s",
        "_flushing",
        "_pending",
        "_reported",
        "_schedule",
        "_subscribers",
        "_timed",
        "faults",
    )

    def __init__(self, schedule: Schedule, delay_s: float = 0.02, batch: int = 1024) -> None:
        self.faults = 0
        self._schedule = schedule
        self._delay_s = delay_s
        self._batch = batch
        self._pending: list[Event] = []
        self._subscribers: list[Subscriber] = []
        self._reported: set[tuple[str, str]] = set()
        self._timed = False
        self._flushing = False

    def subscribe(self, subscriber: Subscriber) -> None:
        """Deliver every later event to `subscriber` too."""
        self._subscribers.append(subscriber)

    def publish(self, event: Event) -> None:
        """Take one event. Legal from within a subscriber: it is then delivered after the batch in hand."""
        pending = self._pending
        pending.append(event)
        if not self._timed:
            self._timed = True
            self._schedule(self._delay_s, self._on_timer)
        if len(pending) >= self._batch:
            self.flush()

    def flush(self) -> None:
        """Deliver all that waits, now."""
        if self._flushing:
            return
        self._flushing = True
        self._reported.clear()
        try:
            for _ in range(_ROUNDS_MAX):
                if not self._pending:
                    break
                batch, self._pending = self._pending, []
                for event in batch:
                    following: list[Event] = []
                    self._tell(event, following)
                    for one in following:  # grows while it is walked: consequences come right after their cause
                        self._tell(one, following)
        finally:
            self._flushing = False

    def _on_timer(self) -> None:
        self._timed = False
        self.flush()

    def _tell(self, event: Event, following: list[Event]) -> None:
        """Show it to all subscribers; what they find is added to what follows."""
        for subscriber in self._subscribers:
            try:
                if found := subscriber(event):
                    _extend(following, found)
            except Exception as error:
                following.extend(self._faults_of(error, event))

    def _faults_of(self, error: Exception, event: Event) -> tuple[Fault, ...]:
        """The Fault to deliver: one for each error and place in a flush, and none for a Fault that was too much.

        A bug met by every event must not double the log, nor answer itself.
        """
        self.faults += 1
        found = Fault.of(error, event.at)
        if isinstance(event, Fault) or (found.error, found.place) in self._reported:
            return ()
        self._reported.add((found.error, found.place))
        return (found,)


def _extend(following: list[Event], found: Iterable[Event]) -> None:
    for event in found:
        if len(following) >= _CONSEQUENCES_MAX:
            raise OverflowError("one event has too many consequences")
        following.append(event)
