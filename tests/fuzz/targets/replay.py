"""Any log: findings, then its end or ReplayError with the line; and each finding can be written down in either form."""

from __future__ import annotations

import io
import json
from random import Random
from typing import Any

from samples import SAMPLES

from shim.locale import catalogue
from shim.record.fields import View, fields
from shim.record.lines import JsonLine, TextLine
from shim.replay import Replay, ReplayError

COVERS = ("shim.replay",)

TEXTS = catalogue("ja")
VIEW = View(reveal=True, catalogue=TEXTS)
FORMS = JsonLine(), TextLine(TEXTS, color=False)
VALUES = (
    None,
    True,
    0,
    -1,
    1 << 70,
    1.5,
    "",
    "x",
    "\ud800",
    "\x1b[31m\u202e\n",
    "9" * 20,
    "[scrubbed]:80",
    [],
    ["x"],
    [[]],
    {},
    {"pid": 1},
)
TIMES = ("2026-01-01T00:00:00.000Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-01-01", "x")


def one_input(data: bytes) -> None:
    run = Replay()
    try:
        for found in run.findings(io.BytesIO(data)):
            for form in FORMS:
                line = _line(found, form)
                assert line.endswith(b"\n") and line[:-1].decode().isprintable()
    except ReplayError as error:
        assert 1 <= error.line <= data.count(b"\n") + 1
        assert TEXTS.text(f"cli.replay.{error.reason}")


def generate(rng: Random) -> bytes:
    """Lines that the log writes, some of them with something else in a field or two."""
    lines = []
    for _ in range(rng.randint(1, 6)):
        keys = json.loads(_line(rng.choice(SAMPLES), FORMS[0]))
        keys["timestamp"] = TIMES[0] if rng.random() < 0.9 else rng.choice(TIMES)
        if keys.get("conn"):
            keys["conn"] = rng.choice(("c1", "c2"))
        if rng.random() < 0.4:
            keys[rng.choice(list(keys))] = rng.choice(VALUES)
        lines.append(json.dumps(keys).encode() + b"\n")
    return b"".join(lines)


def _line(event: Any, form: JsonLine | TextLine) -> bytes:
    level, name, keys = fields(event, VIEW)
    return form(None, "", {"at": event.at, "level": level, "event": name, "keys": keys})
