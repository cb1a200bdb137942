"""`shim run` from outside: whatever the upstream does, the client gets the reply it is owed and the log says why."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rig.shim import Shim
from rig.upstream import Behaviour, Upstream
from rig.waiting import PATIENCE_S
from rig.wire import (
    GREETING,
    GREETING_AUTH,
    NO_AUTH,
    REFUSED4,
    WITH_AUTH,
    Client,
    ask,
    auth,
    http_connect,
    refused5,
    socks4,
    socks5,
    tunnel5,
)

CODES = [*range(1, 9), *range(0xF0, 0xF8), 0xFF]
GRANTED5 = b"\5\0\0\1" + bytes(6)


@pytest.fixture
def own() -> Iterator[Upstream]:
    """An upstream that a test may break."""
    with Upstream() as server:
        yield server


class TestRefusals:
    @pytest.mark.parametrize("code", CODES, ids="{:02x}".format)
    def test_socks5_gets_the_code_as_it_came(self, code: int, warn: Shim, upstream: Upstream) -> None:
        name = f"r{code:02x}.test"
        upstream.behave[name] = Behaviour(reply=code)
        answer = ask(warn.socks, (GREETING, 2), (socks5(name.encode(), 80), 0))
        assert answer == NO_AUTH + refused5(code)
        assert warn.ended(f"{name}:80")["received"] == len(answer)

    @pytest.mark.parametrize("code", [1, 4, 0xF0], ids="{:02x}".format)
    def test_socks4_has_one_code_only(self, code: int, warn: Shim, upstream: Upstream) -> None:
        upstream.behave[f"four{code}.test"] = Behaviour(reply=code)
        assert ask(warn.socks, (socks4(f"four{code}.test".encode(), 80), 0)) == REFUSED4

    @pytest.mark.parametrize(
        ("code", "status"),
        [(1, 502), (2, 403), (3, 503), (4, 503), (5, 502), (6, 504), (7, 502), (8, 502), (0xF0, 502), (0xF7, 502)],
    )
    def test_http_gets_the_nearest_status(self, code: int, status: int, warn: Shim, upstream: Upstream) -> None:
        name = f"h{code:02x}.test"
        upstream.behave[name] = Behaviour(reply=code)
        answer = ask(warn.http, (http_connect(f"{name}:443"), 0))
        assert answer.split(b" ")[1] == str(status).encode()
        assert name.encode() not in answer, "the page does not repeat the destination"

    def test_of_a_pipelined_request_loses_no_reply(self, warn: Shim, upstream: Upstream) -> None:
        upstream.behave["piped.test"] = Behaviour(reply=4)
        assert ask(warn.socks, (GREETING + socks5(b"piped.test", 80), 0)) == NO_AUTH + refused5(4)
        whole = GREETING_AUTH + auth(b"u", b"p") + socks5(b"piped.test", 80)
        assert ask(warn.socks, (whole, 0)) == WITH_AUTH + b"\1\0" + refused5(4)

    def test_reaches_a_client_that_has_sent_much_behind_its_request(self, warn: Shim, upstream: Upstream) -> None:
        """Closing a socket that holds unread bytes sends a reset, and a reset destroys the reply."""
        upstream.behave["eager.test"] = Behaviour(reply=4, delay_s=0.2)
        assert ask(warn.socks, (GREETING + socks5(b"eager.test", 80) + b"x" * 60_000, 0)) == NO_AUTH + refused5(4)


class TestAway:
    def test_a_request_is_refused_at_once_and_the_log_says_why(self, own: Upstream) -> None:
        own.stop()
        with Shim("--http", "127.0.0.1:0", upstream=own.address) as shim:
            assert ask(shim.socks, (GREETING, 2), (socks5(b"away.test", 80), 0)) == NO_AUTH + refused5(1)
            failed = shim.wait_for("upstream_failed")
            assert (failed["upstream"], failed["error"]) == (own.address, "connection_refused")
            line = shim.ended("away.test:80")
            assert (line["reason"], line["sent"], line["received"]) == ("upstream_failed", 0, 12)
            assert ask(shim.socks, (socks4(b"away.test", 80), 0)) == REFUSED4
            assert ask(shim.http, (http_connect("away.test:80"), 0)).split(b" ")[1] == b"502"

    def test_an_unsafe_request_is_judged_all_the_same(self, own: Upstream) -> None:
        own.stop()
        with Shim("--mode", "block", upstream=own.address) as shim:
            assert ask(shim.socks, (GREETING, 2), (socks5("93.184.216.34", 80), 0)) == NO_AUTH + refused5(2)
            assert shim.wait_for("leak_found", kind="address_only")["action"] == "block"

    def test_a_unix_socket_that_is_missing(self, tmp_path: Path) -> None:
        with Shim(upstream=f"unix:{tmp_path}/none") as shim:
            assert ask(shim.socks, (GREETING, 2), (socks5(b"away.test", 80), 0)) == NO_AUTH + refused5(1)
            assert shim.wait_for("upstream_failed")["upstream"] == f"unix:{tmp_path}/none"

    def test_it_works_again_once_the_upstream_is_back(self, own: Upstream) -> None:
        with Shim(upstream=own.address) as shim:
            with tunnel5(shim.socks, b"echo.before.test", 80) as client:
                own.stop()
                assert client.closed()
            assert ask(shim.socks, (GREETING, 2), (socks5(b"echo.gone.test", 80), 0)) == NO_AUTH + refused5(1)
            own.start()
            with tunnel5(shim.socks, b"echo.after.test", 80, b"x") as client:
                assert client.read(1) == b"x"

    def test_an_upstream_that_never_accepts(self, tmp_path: Path) -> None:
        """A listener whose queue is full: the connection attempt just hangs."""
        config = tmp_path / "shim.toml"
        config.write_text("[upstream]\nconnect_timeout_s = 0.3\n")
        with socket.socket() as full, socket.socket() as filler:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            filler.connect(full.getsockname())
            with Shim(config=config, upstream=f"127.0.0.1:{full.getsockname()[1]}") as shim:
                assert ask(shim.socks, (GREETING, 2), (socks5(b"slow.test", 80), 0)) == NO_AUTH + refused5(1)
                assert "timeout" in shim.wait_for("upstream_failed")["error"]


class TestMisbehaving:
    @pytest.mark.parametrize(
        "behaviour",
        [
            Behaviour(stop_at="accept"),
            Behaviour(stop_at="accept", say=b"HTTP/1.1 400 Bad Request\r\n\r\n"),
            Behaviour(stop_at="method"),
            Behaviour(stop_at="method", say=b"\4\0"),
            Behaviour(stop_at="method", say=b"\5"),
            Behaviour(stop_at="method", say=b"\5\xff"),
            Behaviour(stop_at="method", say=b"\5\2"),
            Behaviour(stop_at="reply"),
            Behaviour(stop_at="reply", say=b"\5\0"),
            Behaviour(stop_at="reply", say=b"\5\0\0\1\0\0"),
            Behaviour(stop_at="reply", say=b"\5\0\0\7" + bytes(6)),
            Behaviour(stop_at="reply", say=b"\4\0\0\1" + bytes(6)),
            Behaviour(stop_at="reply", say=b"\x15\x03\x01\x00\x02\x02\x28"),
        ],
        ids=lambda b: f"{b.stop_at}-{b.say[:12].hex() or 'closes'}",
    )
    def test_is_a_general_failure_for_the_client(self, behaviour: Behaviour, own: Upstream) -> None:
        own.behaviour = behaviour
        with Shim(upstream=own.address) as shim:
            assert ask(shim.socks, (GREETING, 2), (socks5(b"odd.test", 80), 0)) == NO_AUTH + refused5(1)
            assert shim.wait_for("upstream_failed")["error"]
            assert shim.ended("odd.test:80")["reason"] == "upstream_failed"

    def test_a_refusal_without_a_method_reply_is_a_refusal(self, own: Upstream) -> None:
        """So tor answers pipelined input that it refuses while parsing."""
        own.behaviour = Behaviour(stop_at="method", say=refused5(2))
        with Shim(upstream=own.address) as shim:
            assert ask(shim.socks, (GREETING, 2), (socks5(b"odd.test", 80), 0)) == NO_AUTH + refused5(2)

    @pytest.mark.parametrize("stage", ["accept", "method", "reply"])
    def test_silence_ends_with_the_reply_deadline(self, stage, own: Upstream, tmp_path: Path) -> None:
        config = tmp_path / "shim.toml"
        config.write_text("[upstream]\nreply_timeout_s = 0.3\n")
        own.behaviour = Behaviour(stop_at=stage, hold=True)
        with Shim(config=config, upstream=own.address) as shim:
            assert ask(shim.socks, (GREETING, 2), (socks5(b"mute.test", 80), 0)) == NO_AUTH + refused5(1)
            assert "timeout" in shim.wait_for("upstream_failed")["error"]

    @pytest.mark.parametrize("name", ["echo.drip.test", "banner.drip.test"])
    def test_a_reply_byte_by_byte_is_a_reply(self, name: str, own: Upstream) -> None:
        own.behaviour = Behaviour(drip=True)
        with Shim(upstream=own.address) as shim, tunnel5(shim.socks, name.encode(), 80, b"x") as client:
            assert client.read(12 if "banner" in name else 1).endswith(b"x")

    def test_a_slow_reply_is_waited_for(self, own: Upstream) -> None:
        own.behaviour = Behaviour(delay_s=0.5)
        with Shim(upstream=own.address) as shim, tunnel5(shim.socks, b"echo.late.test", 80, b"x") as client:
            assert client.read(1) == b"x"

    @pytest.mark.parametrize(
        "leave",
        ["reset", "close"],
    )
    def test_a_client_that_leaves_meanwhile_ends_the_upstream_leg(self, leave: str, own: Upstream) -> None:
        """Tor 0.4.9.11 closes a stream whose client ends before the reply (measured), with a FIN as with a RST."""
        own.behaviour = Behaviour(stop_at="reply", hold=True)
        with Shim(upstream=own.address) as shim:
            with Client(shim.socks) as client:
                client.send(GREETING + socks5(b"left.test", 80))
                assert client.read(2) == NO_AUTH
                seen = own.wait_for("left.test")
                if leave == "reset":
                    client.reset()
            assert seen.ended.wait(PATIENCE_S)
            shim.ended("left.test:80")

    def test_a_reply_with_a_name_as_bound_address(self, own: Upstream) -> None:
        own.behaviour = Behaviour(stop_at="reply", say=b"\5\0\0\3\4name\0\x50hello")
        with Shim(upstream=own.address) as shim, Client(shim.socks) as client:
            client.send(GREETING + socks5(b"named.test", 80))
            answer = client.read_all()
        assert answer[:4] == NO_AUTH + b"\5\0"
        assert answer.endswith(b"hello")


class TestAuto:
    """`--upstream auto` looks at places outside these tests, so only its refusal to fail is shown here."""

    def test_the_upstream_of_a_file_is_used_without_a_flag(self, own: Upstream, tmp_path: Path) -> None:
        config = tmp_path / "shim.toml"
        config.write_text(f'[upstream]\naddress = "{own.address}"\n')
        with Shim(config=config) as shim, tunnel5(shim.socks, b"echo.test", 80):
            assert own.accepted == 1

    def test_the_shim_opens_no_connection_before_it_is_asked(self, own: Upstream) -> None:
        with Shim(upstream=own.address):
            time.sleep(0.2)
        assert own.accepted <= 1, "at most one look whether the upstream is there"
        assert not own.seen
