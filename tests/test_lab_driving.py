"""How browsers are spoken to, by the other end of their pipes and sockets: in pieces, out of turn, not at all."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress

import pytest

from shim.lab import devtools, marionette
from shim.lab.devtools import Chromium, DevTools
from shim.lab.driving import DriveError
from shim.lab.marionette import Firefox, Marionette

LOADED = {"method": "Page.lifecycleEvent", "params": {"name": "load", "loaderId": "L1", "frameId": "F"}}
ANSWERS: dict[str, dict[str, object] | None] = {
    "Target.createTarget": {"result": {"targetId": "T"}},
    "Target.attachToTarget": {"result": {"sessionId": "S"}},
    "Page.navigate": {"result": {"frameId": "F", "loaderId": "L1"}},
}


class Browser:
    """The other end: answers each command with what it is told to, events before and behind."""

    def __init__(self, answers: Mapping[str, dict[str, object] | None]) -> None:
        self.answers = answers
        self.heard: list[str] = []
        (self._commands, ours_out), (ours_in, self._answers) = os.pipe(), os.pipe()
        self.tools = DevTools(ours_in, ours_out)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with suppress(OSError), os.fdopen(self._commands, "rb") as commands, os.fdopen(self._answers, "wb", 0) as out:
            while command := b"".join(iter(lambda: commands.read(1).rstrip(b"\0"), b"")):
                asked = json.loads(command)
                self.heard.append(asked["method"])
                answer = self.answers.get(asked["method"], result())
                if answer is None:
                    return
                early = [LOADED] if asked["method"] == "Page.navigate" else []
                wire = b"".join(json.dumps(each).encode() + b"\0" for each in [*early, {"id": asked["id"], **answer}])
                for start in range(0, len(wire), 7):
                    out.write(wire[start : start + 7])

    def close(self) -> None:
        self.tools.close()
        self._thread.join(10)


def result(**keys: object) -> dict[str, object]:
    return {"result": keys}


@pytest.fixture
def browsers() -> Iterator[list[Browser]]:
    made: list[Browser] = []
    yield made
    for each in made:
        each.close()


def start(browsers: list[Browser], method: str = "", answer: dict[str, object] | None = None) -> Browser:
    """One that does all it is asked for, but for one method."""
    browsers.append(Browser({**ANSWERS, method: answer} if method else ANSWERS))
    return browsers[-1]


def test_a_page_that_has_loaded_before_the_answer_has_loaded(browsers: list[Browser]) -> None:
    browser = start(browsers)
    page = Chromium(browser.tools)
    page.load("http://www.example.org/")
    page.quit()
    assert browser.heard[-2:] == ["Page.navigate", "Browser.close"]


def test_another_place_on_the_same_page_is_not_waited_for(browsers: list[Browser]) -> None:
    page = Chromium(start(browsers, "Page.navigate", result(frameId="F")).tools)
    page.load("http://www.example.org/#below")


def test_why_a_page_does_not_load(browsers: list[Browser]) -> None:
    page = Chromium(start(browsers, "Page.navigate", result(frameId="F", errorText="net::ERR_FAILED")).tools)
    with pytest.raises(DriveError, match="net::ERR_FAILED"):
        page.load("http://www.example.org/")


@pytest.mark.parametrize(
    ("answer", "code"),
    [(None, "ended"), ({"error": {"message": "no"}}, "refused"), ({"result": {}, "id": 0}, "timeout")],
)
def test_what_a_browser_may_do_instead(
    answer: dict[str, object] | None, code: str, browsers: list[Browser], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devtools, "ANSWER_S", 0.3)
    with pytest.raises(DriveError, match=code):
        Chromium(start(browsers, "Target.createTarget", answer).tools)


def test_garbage_is_no_answer() -> None:
    (_, ours_out), (ours_in, theirs) = os.pipe(), os.pipe()
    tools = DevTools(ours_in, ours_out)
    os.write(theirs, b"<html>\0")
    with pytest.raises(DriveError, match="garbage"):
        tools.call("Page.enable")


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (b"50:", "ended"),
        (b"HTTP/1.1 400 no: way\r\n", "garbage"),
        (b"2:{}", "ended"),
        (b"2:{}4:null", "garbage"),
        (b'2:{}33:[1,1,{"error":"no such page"},{}]', "no such page"),
    ],
)
def test_what_firefox_may_say(said: bytes, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(marionette, "PORT", server.getsockname()[1])

        def serve() -> None:
            sock, _ = server.accept()
            with sock:
                sock.sendall(said)
                if b"}" in said:
                    sock.recv(1000)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with pytest.raises(DriveError, match=code), closing(Marionette(lambda: True)) as tools:
            Firefox(tools)
        thread.join(10)


def test_a_firefox_that_has_ended_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(marionette, "PORT", server.getsockname()[1])
    with pytest.raises(DriveError, match="ended"):
        Marionette(lambda: False)
