"""`shim run` from outside: credentials are Tor's key for isolating streams, and reach it byte for byte."""

from __future__ import annotations

import base64
import hashlib

import pytest
from rig.shim import Shim
from rig.upstream import Upstream
from rig.wire import (
    AUTH_OK,
    GRANTED4,
    GREETING_AUTH,
    WITH_AUTH,
    Client,
    auth,
    http_connect,
    socks4,
    socks5,
    tunnel5,
)

GRANTED5 = b"\5\0\0\1" + bytes(6)


class TestCredentials:
    @pytest.mark.parametrize(
        ("username", "password"),
        [
            (b"user", b"password"),
            (b"", b"only a password"),
            (b"only a user", b""),
            (b"", b""),
            (bytes(range(255)), bytes(range(255, 0, -1))),
            (b"<torS0X>0", b"isolated"),
        ],
    )
    def test_of_socks5(self, username: bytes, password: bytes, warn: Shim, upstream: Upstream) -> None:
        name = f"echo.{hashlib.sha256(username + b'|' + password).hexdigest()[:12]}.test"
        with Client(warn.socks) as client:
            client.send(GREETING_AUTH + auth(username, password) + socks5(name.encode(), 80) + b"early")
            expected = WITH_AUTH + AUTH_OK + GRANTED5 + b"early"
            assert client.read(len(expected)) == expected
        seen = upstream.wait_for(name)
        assert (seen.username, seen.password) == (username, password)

    @pytest.mark.parametrize(
        ("user", "username", "password"),
        [
            (b"", None, None),
            (b"me", b"me", b""),
            (b"u" * 255, b"u" * 255, b""),
            (b"u" * 255 + b"rest", b"u" * 255, b"rest"),
            (b"\xff\x01 \x7f", b"\xff\x01 \x7f", b""),
        ],
        ids=["none", "short", "255", "longer", "any bytes"],
    )
    def test_of_socks4(
        self, user: bytes, username: bytes | None, password: bytes | None, warn: Shim, upstream: Upstream
    ) -> None:
        name = f"echo.four-{len(user)}.test"
        with Client(warn.socks) as client:
            client.send(socks4(name.encode(), 80, user=user))
            assert client.read(2) == GRANTED4
        seen = upstream.wait_for(name)
        assert (seen.username, seen.password) == (username, password)

    @pytest.mark.parametrize(
        ("pair", "username", "password"),
        [(b"user:pass", b"user", b"pass"), (b"tor:a:b", b"tor", b"a:b"), (b"alone:", b"alone", b"")],
    )
    def test_of_http(self, pair: bytes, username: bytes, password: bytes, warn: Shim, upstream: Upstream) -> None:
        name = f"echo.basic-{len(pair)}-{len(username)}.test"
        header = f"Proxy-Authorization: Basic {base64.b64encode(pair).decode()}"
        with Client(warn.http) as client:
            client.send(http_connect(f"{name}:80", header))
            assert client.read(12)[9:12] == b"200"
        seen = upstream.wait_for(name)
        assert (seen.username, seen.password) == (username, password)

    def test_absent_ones_stay_absent(self, warn: Shim, upstream: Upstream) -> None:
        with tunnel5(warn.socks, b"echo.nobody.test", 80):
            pass
        assert upstream.wait_for("echo.nobody.test").username is None


class TestIsolation:
    def test_by_destination(self, upstream: Upstream, tmp_path) -> None:
        config = tmp_path / "shim.toml"
        config.write_text('[policy]\nisolate = "destination"\n')
        with Shim(config=config, upstream=upstream.address) as shim:
            one, other, again = (self.pair(shim, upstream, n) for n in ("echo.a.test", "echo.b.test", "echo.a.test"))
            assert one == again != other
            with Client(shim.socks) as client:
                client.send(GREETING_AUTH + auth(b"mine", b"own") + socks5(b"echo.c.test", 80))
                client.read(14)
            assert upstream.wait_for("echo.c.test").username == b"mine"

    def test_by_client(self, upstream: Upstream, tmp_path) -> None:
        config = tmp_path / "shim.toml"
        config.write_text('[policy]\nisolate = "client"\n')
        with Shim(config=config, socks=["127.0.0.1:0", "[::1]:0"], upstream=upstream.address) as shim:
            one, other = (self.pair(shim, upstream, name) for name in ("echo.d.test", "echo.e.test"))
            assert one == other
            six = self.pair(shim, upstream, "echo.f.test", shim.ready["socks"][1])
            assert six != one

    @staticmethod
    def pair(shim: Shim, upstream: Upstream, name: str, where: str | None = None) -> tuple[bytes, bytes]:
        """The credentials that the shim made up for one request."""
        with tunnel5(where or shim.socks, name.encode(), 80):
            pass
        seen = upstream.wait_for(name)
        assert seen.username is not None and seen.password is not None
        assert not seen.username.startswith(b"<torS0X>")
        assert name.encode() not in seen.username + seen.password
        return seen.username, seen.password
