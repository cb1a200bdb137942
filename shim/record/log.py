"""The log: a bus subscriber that writes a line for each event of the chosen level and above.

Holds no texts and judges nothing. An event that is filtered out costs a look into a dict.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict

import structlog

from shim.events import Event, LeakFound, Ready, UpstreamFailed
from shim.locale import Catalogue
from shim.model import Confidence
from shim.record import Schedule
from shim.record.fields import SHOWN, Keys, View
from shim.record.gather import Gathered, Gatherer
from shim.record.lines import JsonLine, TextLine, wants_color
from shim.record.message import program
from shim.record.writer import LineWriter

RETRY_S = 0.02
"""How soon what a reader did not take is tried again: lines are due within 100 ms."""

_TIMER_SLACK_S = 0.1
"""The loop's clock and the events' are not the same one."""

_FINDING = SHOWN[LeakFound][1]
_GATHERED = (LeakFound, UpstreamFailed)
_LEVELS = ("debug", "info", "warning", "error")
_RANKS = {confidence: rank for rank, confidence in enumerate(Confidence)}


class _LineLogger(structlog.BoundLoggerBase):
    """One method in place of one a level: the level is known from the event, and filtered before its keys are made."""

    def line(self, at: float, level: str, event: str, keys: Keys) -> None:
        """Render one line and hand it to the writer.

        Runs the one processor itself: structlog's own way there copies a context that is always empty, and looks twice
        at what it returned (4 us a line, more than to encode it). In the writer's buffer a line counts as what it is,
        a finding as its protocol, or a flood of DNS queries, each of which is a finding, would push out those of
        requests.
        """
        (render,) = self._processors
        line = render(None, "", {"at": at, "level": level, "event": event, "keys": keys})
        self._logger.write(line, str(keys["protocol"]) if event == _FINDING else event)


class LogSink:
    """Subscribe it to the bus. `schedule` is `loop.call_later`; without one, each line is written at once.

    In text, warnings of one program and kind are gathered; JSON has them all. `color` is auto, always or never.
    """

    __slots__ = (
        "_catalogue",
        "_clock",
        "_flush_due",
        "_gatherer",
        "_line",
        "_schedule",
        "_view",
        "_wanted",
        "_writer",
    )

    def __init__(
        self,
        writer: LineWriter,
        catalogue: Catalogue,
        *,
        format: str,
        level: str,
        reveal: bool,
        color: str = "auto",
        schedule: Schedule | None = None,
        clock: Callable[[], float] = time.time,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._writer = writer
        self._catalogue = catalogue
        self._schedule = schedule
        self._clock = clock
        self._flush_due = False
        text = format == "text"
        self._gatherer = Gatherer() if text else None
        render = TextLine(catalogue, wants_color(color, writer.is_terminal, environ)) if text else JsonLine()
        # A method takes a third less of a call than the object that has it: a line makes two such.
        processors = [render.__call__]
        logger = structlog.wrap_logger(writer, processors=processors, wrapper_class=_LineLogger, context_class=dict)
        self._line: Callable[[float, str, str, Keys], None] = logger.bind().line
        writer.on_dropped = lambda count: render(
            None, "", {"at": clock(), "level": "warning", "event": "lines_dropped", "keys": {"count": count}}
        )
        self.configure(level=level, reveal=reveal)

    def configure(self, *, level: str, reveal: bool) -> None:
        """Change what is shown from now on. `level` is debug, info or warning."""
        loud = _LEVELS[_LEVELS.index(level) :]
        # `ready` is always told: with port 0 nothing else says where we listen.
        self._wanted = {kind: shown for kind, shown in SHOWN.items() if shown[0] in loud or kind is Ready}
        self._view = View(reveal, self._catalogue)

    def take(self, event: Event) -> None:
        """Take one event."""
        shown = self._wanted.get(type(event))
        if shown is None:
            return
        level, name, keys_of = shown
        keys = keys_of(event, self._view)
        gatherer = self._gatherer
        gathers = gatherer is not None and (gatherer.windows or type(event) in _GATHERED)
        if not gathers or self._admits(event, keys):
            self._line(event.at, level, name, keys)
        if not self._flush_due:
            self._flush_soon()

    def flush(self) -> None:
        """Write what goes now; what does not is tried again."""
        if self._gatherer is not None:
            now = self._clock()
            self._tell(self._gatherer.ended(now), now)
        if not self._writer.flush() and not self._flush_due and self._schedule is not None:
            self._flush_due = True
            self._schedule(RETRY_S, self._on_timer)

    def close(self) -> None:
        """Write all there is, and wait a bounded time for it."""
        if self._gatherer is not None:
            self._tell(self._gatherer.close(), self._clock())
        self._writer.close()

    def _flush_soon(self) -> None:
        """Once for all lines of this turn of the loop."""
        if self._schedule is None:
            self.flush()
        else:
            self._flush_due = True
            self._schedule(0.0, self._on_timer)

    def _on_timer(self) -> None:
        self._flush_due = False
        self.flush()

    def _admits(self, event: Event, keys: Keys) -> bool:
        """Whether this line is to be written, or only counted."""
        gatherer = self._gatherer
        assert gatherer is not None
        self._tell(gatherer.ended(event.at), event.at)
        match event:
            case LeakFound(kind=kind, confidence=confidence, revision=revision):
                who = program(event, self._catalogue)
                shown = gatherer.admit(who, kind, event.at, rank=_RANKS[confidence], again=revision > 1)
            case UpstreamFailed():
                shown = gatherer.admit(keys["upstream"], keys["error"], event.at)
            case _:
                return True
        if shown and self._schedule is not None:
            self._schedule(gatherer.window_s + _TIMER_SLACK_S, self.flush)  # tell even if nothing else happens
        return shown

    def _tell(self, ended: list[Gathered], at: float) -> None:
        for one in ended:
            self._line(at, "warning", "gathered", asdict(one))
