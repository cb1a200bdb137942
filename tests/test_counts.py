"""What a tunnel costs in system calls: counted, not timed, so that the figure is the same on every machine.

One tunnel after the other, each with one small message either way. Measured with CPython 3.11 and uvloop 0.23:

    accept4 2       the client, and the look that finds no other
    getsockname 1   CPython's, for every socket object made from a descriptor
    recvfrom 7      greeting, request, reply, a message either way, an end either way
    sendto 5        method, greeting with request, reply, a message either way
    epoll_ctl 3     client in, upstream in, client's end out
    socket 1, setsockopt 1, connect 1, shutdown 1, close 2
    setsockopt 1    more, where the system's congestion control is BBR (shim/proxy/pacing.py)

These 24, or 25, do not depend on chance. Nor does it that the data plane's poll set is asked at most once an event,
and a tunnel has 8 events. How often the loop waits besides, and how many lines the log puts into one write, depends on
time.
"""

from __future__ import annotations

import re
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from rig.programs import missing, require_program
from rig.shim import Shim
from rig.waiting import PATIENCE_S
from rig.wire import GREETING, NO_AUTH, refused5, socks5, tunnel5

TUNNELS = 50
WARM_UP = 3
MARGIN = 1.1
PACED = Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().startswith("bbr")
BUDGET = {
    "accept4": 2,
    "getsockname": 1,
    "recvfrom": 7,
    "sendto": 5,
    "epoll_ctl": 3,
    "socket": 1,
    "setsockopt": 1 + PACED,
    "connect": 1,
    "shutdown": 1,
    "close": 2,
}
EVENTS = 8
OF_THE_LOOP = {"epoll_pwait", "epoll_wait", "write", "read", "futex"}
NAME = b"a.test"
ASKED = GREETING + socks5(NAME, 80)
_CALL = re.compile(r"\d+ +(\w+)\(")


@pytest.fixture
def upstream() -> Iterator[str]:
    """Answers greeting and request in one segment, then sends four bytes back: the same segments every time."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_serve, args=(listener,), daemon=True)
        thread.start()
        yield "{}:{}".format(*listener.getsockname())
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(PATIENCE_S)


def _serve(listener: socket.socket) -> None:
    while True:
        try:
            sock, _ = listener.accept()
        except OSError:
            return
        with sock:
            sock.settimeout(PATIENCE_S)
            assert sock.recv(len(ASKED), socket.MSG_WAITALL) == ASKED
            sock.sendall(NO_AUTH + refused5(0))
            sock.sendall(sock.recv(4, socket.MSG_WAITALL))
            assert sock.recv(1) == b""


class Traced(Shim):
    """The shim under strace, which writes down each of its system calls as it happens."""

    def __init__(self, trace: Path, upstream: str) -> None:
        strace = require_program("strace")
        if subprocess.run([strace, "-o", str(trace), "true"], capture_output=True, check=False).returncode:
            missing("needs strace to be permitted (ptrace)")
        self.trace = trace
        # -D: the shim is our own child, and gets our signals.
        super().__init__(upstream=upstream, prefix=(strace, "-D", "-f", "-qq", "-e", "signal=none", "-o", str(trace)))

    def tunnels(self, count: int) -> None:
        """One after the other, until the last is in the log."""
        mark = self.mark()
        for _ in range(count):
            with tunnel5(self.socks, NAME, 80) as client:
                client.send(b"ping")
                assert client.read(4) == b"ping"
                client.end()
                assert client.closed()
        assert len(self.gather("connection_closed", count, mark)) == count, "not every connection was closed"

    def calls(self) -> Counter[str]:
        """All calls so far, by name."""
        return Counter(_CALL.findall(self.trace.read_text(errors="backslashreplace")))


def test_a_tunnel_stays_within_its_budget_of_system_calls_and_has_its_two_lines(upstream: str, tmp_path: Path) -> None:
    with Traced(tmp_path / "trace", upstream) as shim:
        shim.tunnels(WARM_UP)
        before, mark = shim.calls(), shim.mark()
        shim.tunnels(TUNNELS)
        spent = shim.calls() - before
        lines = Counter(line["event"] for line in shim.lines[mark:])
    assert lines == {"request_decided": TUNNELS, "connection_closed": TUNNELS}
    for line in shim.find("connection_closed", mark):
        assert (line["sent"], line["received"]) == (4, len(NO_AUTH + refused5(0)) + 4)
    of_tunnels = {name: count for name, count in spent.items() if name not in OF_THE_LOOP}
    assert set(of_tunnels) <= set(BUDGET), f"new kinds of call: {of_tunnels}"
    assert sum(of_tunnels.values()) <= TUNNELS * sum(BUDGET.values()) * MARGIN, of_tunnels
    assert spent["epoll_wait"] <= TUNNELS * EVENTS * MARGIN, spent
    # The budget is no wish: a count far below it means that the trace was not complete.
    assert sum(of_tunnels.values()) >= TUNNELS * sum(BUDGET.values()) * 0.9, of_tunnels
    print(f"{sum(of_tunnels.values()) / TUNNELS:.2f} calls a tunnel, {sum(spent.values()) / TUNNELS:.1f} with waiting")
