"""First bytes are read along as they pass: told once, changed never, and only where the request told no name."""

from __future__ import annotations

import pytest
from rig.session import GRANTED, NAME, Served
from rig.wire import GREETING, NO_AUTH

from shim.events import FirstBytesSeen
from shim.model import Action

HEAD = b"GET / HTTP/1.1\r\nHost: B.test\r\n\r\n"


@pytest.mark.parametrize("place", ["behind the request", "later", "in two pieces"])
def test_the_name_in_the_first_bytes_is_told_where_the_request_had_none(served: Served, place: str) -> None:
    served.judge(Action.FORWARD)
    client, upstream = served.request(trailing=HEAD if place == "behind the request" else b"")
    served.hears(upstream, GREETING + NAME)
    served.say(upstream, NO_AUTH + GRANTED)
    if place == "later":
        served.say(client, HEAD)
    elif place == "in two pieces":
        served.say(client, HEAD[:20])
        assert not served.of(FirstBytesSeen)
        served.say(client, HEAD[20:])
    served.hears(upstream, HEAD)
    served.say(client, HEAD.replace(b"B", b"C"))
    served.hears(upstream, HEAD.replace(b"B", b"C"))
    assert [(event.conn, event.name) for event in served.of(FirstBytesSeen)] == [("c1", "b.test")]


def test_whoever_asked_for_a_name_is_not_overheard(served: Served) -> None:
    client, upstream = served.tunnel()
    served.say(client, HEAD)
    served.hears(upstream, HEAD)
    assert not served.of(FirstBytesSeen)
