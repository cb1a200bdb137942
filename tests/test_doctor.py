"""shim.doctor: what the settings of a machine say, read as their own programs read them, and the verdict on it all."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from rig.upstream import Upstream

from shim.address import Address
from shim.cli import commands
from shim.doctor import examination, upstream
from shim.doctor.machine import MAX_BYTES, Machine
from shim.doctor.remark import Remark, Status, verdict
from shim.doctor.resolver import look
from shim.doctor.settings_files import ResolvConf
from shim.locale import LANGUAGES, catalogue

SENSOR, HIGH = Address("127.0.0.1", 53), Address("127.0.0.1", 5453)
SOCKET = "/run/systemd/resolve/io.systemd.Resolve"
UPLINKS = "/run/systemd/resolve/resolv.conf"
STUB = {"/etc/resolv.conf": "nameserver 127.0.0.53\noptions edns0\n"}
QUIET = {"/etc/systemd/resolved.conf.d/quiet.conf": "[Resolve]\nLLMNR=no\nMulticastDNS=no\n"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


def made(root: Path, files: dict[str, str]) -> Machine:
    """A machine with these files."""
    for place, text in files.items():
        path = root / place.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Machine(root)


def found(root: Path, files: dict[str, str], sensor: Address | None = SENSOR) -> dict[str, Status]:
    """Codes of what is said of the settings, with their status."""
    return {remark.code: remark.status for remark in look(made(root, files), sensor)}


class TestNameservers:
    @pytest.mark.parametrize(
        ("servers", "sensor", "code", "status"),
        [
            ("127.0.0.1", SENSOR, "server_is_sensor", Status.OK),
            ("::1", Address("::1", 53), "server_is_sensor", Status.OK),
            ("0:0:0:0:0:0:0:1", Address("::1", 53), "server_is_sensor", Status.OK),
            ("127.0.0.1", HIGH, "server_other_port", Status.UNKNOWN),
            ("127.0.0.1", None, "server_local", Status.UNKNOWN),
            ("127.0.0.11", SENSOR, "server_local", Status.UNKNOWN),
            ("192.168.1.1", SENSOR, "server_private", Status.LEAK),
            ("fe80::1%eth0", SENSOR, "server_private", Status.LEAK),
            ("9.9.9.9", SENSOR, "server_public", Status.LEAK),
            ("2620:fe::fe", None, "server_public", Status.LEAK),
            ("dns.example", SENSOR, "server_unreadable", Status.UNKNOWN),
        ],
    )
    def test_one(self, servers: str, sensor: Address | None, code: str, status: Status, root: Path) -> None:
        assert found(root, {"/etc/resolv.conf": f"nameserver {servers}\n"}, sensor) == {code: status}

    def test_the_second_one_leaks_though_the_first_is_the_sensor(self, root: Path) -> None:
        files = {"/etc/resolv.conf": "nameserver 127.0.0.1\nnameserver 9.9.9.9\n"}
        assert found(root, files) == {"server_is_sensor": Status.OK, "server_public": Status.LEAK}

    def test_without_a_file_or_a_server_it_is_this_machine(self, root: Path) -> None:
        assert found(root, {}) == {"resolv_conf_missing": Status.NOTE, "server_is_sensor": Status.OK}
        assert found(root, {"/etc/resolv.conf": "options edns0\n"}) == {"server_is_sensor": Status.OK}

    def test_a_file_that_is_no_text_is_shown_and_not_guessed(self, root: Path) -> None:
        machine = made(root, {"/etc/resolv.conf": ""})
        (root / "etc/resolv.conf").write_bytes(b"nameserver \xff\x1b[2J\n")
        (remark,) = look(machine, SENSOR)
        assert dict(remark.fields)["server"] == "\\xff\x1b[2J"

    def test_a_huge_file_is_read_in_part(self, root: Path) -> None:
        machine = made(root, {"/etc/resolv.conf": "#" * MAX_BYTES + "\nnameserver 9.9.9.9\n"})
        assert machine.resolv_conf() == ResolvConf()


class TestSources:
    def test_multicast_nscd_and_search_are_notes(self, root: Path) -> None:
        files = {
            "/etc/resolv.conf": "nameserver 127.0.0.1\nsearch corp.example\n",
            "/etc/nsswitch.conf": "hosts: files mdns4_minimal [NOTFOUND=return] dns\n",
            "/run/nscd/socket": "",
        }
        assert found(root, files) == {
            "server_is_sensor": Status.OK,
            "nss_multicast": Status.NOTE,
            "nscd": Status.NOTE,
            "search": Status.NOTE,
        }

    def test_a_source_that_nobody_knows(self, root: Path) -> None:
        files = {"/etc/resolv.conf": "nameserver 127.0.0.1\n", "/etc/nsswitch.conf": "hosts: files sss dns wins\n"}
        (remark,) = [each for each in look(made(root, files), SENSOR) if each.code == "nss_other"]
        assert (remark.status, dict(remark.fields)) == (Status.UNKNOWN, {"sources": "sss wins"})

    def test_no_dns_at_all(self, root: Path) -> None:
        files = {"/etc/resolv.conf": "nameserver 9.9.9.9\n", "/etc/nsswitch.conf": "hosts: files\n"}
        assert found(root, files) == {"nss_without_dns": Status.NOTE}


class TestSystemdResolved:
    def test_whom_it_asks_is_in_its_own_list(self, root: Path) -> None:
        files = STUB | QUIET | {UPLINKS: "nameserver 192.168.1.1\nnameserver 9.9.9.9\n"}
        assert found(root, files) == {"server_private": Status.LEAK, "server_public": Status.LEAK}

    @pytest.mark.parametrize(
        ("sensor", "dns"),
        [
            (HIGH, "127.0.0.1:5453"),
            (SENSOR, "127.0.0.1"),
            (SENSOR, "127.0.0.1#name.example"),
            (Address("::1", 5453), "[::1]:5453"),
            (Address("::1", 53), "::1"),
        ],
    )
    def test_it_may_ask_the_sensor_alone(self, sensor: Address, dns: str, root: Path) -> None:
        drop_in = {"/etc/systemd/resolved.conf.d/shim.conf": f"[Resolve]\nDNS={dns}\nDomains=~.\n"}
        files = STUB | QUIET | drop_in | {UPLINKS: "# none at port 53\n"}
        assert found(root, files, sensor) == {"resolved_asks_sensor": Status.OK}

    def test_at_port_53_the_sensor_is_in_the_list_as_well(self, root: Path) -> None:
        drop_in = {"/etc/systemd/resolved.conf.d/shim.conf": "[Resolve]\nDNS=127.0.0.1\nDomains=~.\n"}
        files = STUB | QUIET | drop_in | {UPLINKS: "nameserver 127.0.0.1\n"}
        assert found(root, files) == {"resolved_asks_sensor": Status.OK}

    @pytest.mark.parametrize("dns", ["", "127.0.0.1:5454", "127.0.0.1:5453 9.9.9.9", "127.0.0.2:5453"])
    def test_it_may_not(self, dns: str, root: Path) -> None:
        files = STUB | QUIET | {"/etc/systemd/resolved.conf": f"[Resolve]\nDNS={dns}\n", UPLINKS: ""}
        assert found(root, files, HIGH) == {"resolved_unknown": Status.UNKNOWN}

    def test_names_that_it_shouts_are_told(self, root: Path) -> None:
        files = STUB | {UPLINKS: "nameserver 9.9.9.9\n"}
        assert found(root, files) == {
            "server_public": Status.LEAK,
            "resolved_llmnr": Status.NOTE,
            "resolved_mdns": Status.NOTE,
        }

    def test_past_resolv_conf(self, root: Path) -> None:
        """nss-resolve is asked although resolv.conf names the sensor."""
        files = {
            "/etc/resolv.conf": "nameserver 127.0.0.1\n",
            "/etc/nsswitch.conf": "hosts: resolve [!UNAVAIL=return] files dns\n",
            UPLINKS: "nameserver 192.168.1.1\n",
        }
        assert found(root, files | QUIET) == {"server_is_sensor": Status.OK}, "nobody answers there"
        assert found(root, files | QUIET | {SOCKET: ""}) == {
            "nss_resolve": Status.NOTE,
            "server_is_sensor": Status.OK,
            "server_private": Status.LEAK,
        }

    def test_files_count_in_the_order_of_systemd(self, root: Path) -> None:
        """/etc beats /run beats /usr/lib for the main file and for drop-ins of one name; drop-ins come by name."""
        machine = made(
            root,
            {
                "/usr/lib/systemd/resolved.conf": "[Resolve]\nDNS=1.0.0.1\n",
                "/etc/systemd/resolved.conf": "[Resolve]\nDNS=1.0.0.2\n",
                "/usr/lib/systemd/resolved.conf.d/20-b.conf": "[Resolve]\nDNS=1.0.0.3\n",
                "/run/systemd/resolved.conf.d/20-b.conf": "[Resolve]\nDNS=1.0.0.4\n",
                "/etc/systemd/resolved.conf.d/10-a.conf": "[Resolve]\nDNS=1.0.0.5\n",
                "/etc/systemd/resolved.conf.d/10-a.conf.bak": "[Resolve]\nDNS=1.0.0.6\n",
            },
        )
        assert machine.resolved().dns == ("1.0.0.2", "1.0.0.5", "1.0.0.4")


class TestVerdict:
    @pytest.mark.parametrize(
        ("statuses", "expected"),
        [
            ([], Status.UNKNOWN),
            ([Status.NOTE], Status.UNKNOWN),
            ([Status.OK, Status.NOTE], Status.OK),
            ([Status.OK, Status.UNKNOWN], Status.UNKNOWN),
            ([Status.OK, Status.UNKNOWN, Status.LEAK], Status.LEAK),
        ],
    )
    def test_the_worst_counts_and_nothing_seen_is_not_clean(self, statuses: list[Status], expected: Status) -> None:
        assert verdict(Remark("x", status) for status in statuses) is expected

    def test_a_canary_that_came_through_settles_what_settings_cannot_tell(
        self, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        machine = made(root, {"/etc/resolv.conf": "nameserver 127.0.0.1\n"})
        monkeypatch.setattr(examination.sensor, "look", lambda _dns: [Remark("sensor_answers", Status.OK)])
        for status, expected in ((Status.OK, Status.OK), (Status.UNKNOWN, Status.UNKNOWN), (Status.LEAK, Status.LEAK)):
            monkeypatch.setattr(examination.sensor, "canary", lambda _dns, _zone, s=status: Remark("canary_x", s))
            assert verdict(examination.examine(machine, {}, HIGH, "example.com")) is expected
        machine = made(root, {"/etc/resolv.conf": "nameserver 127.0.0.1\nnameserver 127.0.0.2\n"})
        monkeypatch.setattr(examination.sensor, "canary", lambda _dns, _zone: Remark("canary_x", Status.OK))
        assert verdict(examination.examine(machine, {}, HIGH, "example.com")) is Status.UNKNOWN, "only one was tried"


def invoked(*words: str) -> Result:
    return CliRunner().invoke(commands(catalogue("en")), ["doctor", *words], standalone_mode=False)


class TestCommand:
    """Usage only; what it finds on a machine is shown in namespaces, see test_doctor_run.py."""

    @pytest.mark.parametrize(
        "words",
        [
            ("--canary",),
            ("--dns", "unix:/run/x"),
            ("--dns", "127.0.0.1:0"),
            ("--dns", "localhost"),
            ("--dns", "127.0.0.1:53", "--canary", "no zone"),
            ("--dns", "127.0.0.1:53", "--canary", "com"),
            ("--dns", "127.0.0.1:53", "--canary", f"{'a.' * 120}example"),
            ("--format", "xml"),
        ],
    )
    def test_wrong_usage(self, words: tuple[str, ...]) -> None:
        assert invoked(*words).exception is not None

    @pytest.mark.parametrize("lang", LANGUAGES)
    def test_json_and_text_say_the_same(self, lang: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        machine = made(root, {"/etc/resolv.conf": "nameserver 9.9.9.9\x1b[2J\nsearch a.example\n"})
        monkeypatch.setattr("shim.doctor.machine.Machine", lambda: machine)
        group = commands(catalogue(lang))
        text = CliRunner().invoke(group, ["doctor"], standalone_mode=False)
        data = CliRunner().invoke(group, ["doctor", "--format", "json"], standalone_mode=False)
        assert text.return_value == data.return_value == 3
        told = json.loads(data.output)
        assert told["status"] == "unknown"
        codes = [remark["code"] for remark in told["remarks"]]
        assert codes[:3] == ["server_unreadable", "search", "sensor_not_given"]
        assert codes[3] in ("tor_answers", "tor_foreign", "tor_startable", "tor_missing")  # as this very machine has it
        assert all(remark["text"] in text.output for remark in told["remarks"])
        assert "\x1b" not in text.output + "".join(remark["text"] for remark in told["remarks"])


class TestTor:
    TOR_BROWSER = Address("127.0.0.1", 9150)

    def test_one_that_answers_is_told_with_its_place(self) -> None:
        found = upstream.look(lambda address: address == self.TOR_BROWSER, lambda _program: None)
        assert found == Remark("tor_answers", Status.NOTE, (("address", "127.0.0.1:9150"),))

    @pytest.mark.parametrize(
        ("program", "code", "mend"),
        [("/usr/bin/tor", "tor_startable", None), (None, "tor_missing", "tor_missing")],
    )
    def test_none_that_answers_is_no_leak(self, program: str | None, code: str, mend: str | None) -> None:
        found = upstream.look(lambda _address: False, lambda _program: program)
        places = (("places", "unix:/run/tor/socks, 127.0.0.1:9050, 127.0.0.1:9150"),)
        assert found == Remark(code, Status.NOTE, places, mend)

    def test_that_of_another_user_is_none(self) -> None:
        foreign = Address("127.0.0.1", 9050)
        found = upstream.look(lambda address: address == foreign, lambda _program: "tor", lambda _address: True)
        assert found == Remark("tor_foreign", Status.NOTE, (("places", "127.0.0.1:9050"),))
        found = upstream.look(lambda address: not address.is_unix, lambda _program: None, foreign.__eq__)
        assert found == Remark("tor_answers", Status.NOTE, (("address", "127.0.0.1:9150"),))

    def test_it_is_asked_with_a_greeting(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with Upstream() as server:
            monkeypatch.setattr(upstream, "CANDIDATES", (Address.parse(server.address),))
            assert upstream.look().fields == (("address", server.address),)
        assert not server.seen


def test_every_remark_has_its_words() -> None:
    """Codes and remedies that the doctor can give, read from its source, against the catalogue."""
    codes, mends = set[str](), set[str]()
    shim = Path(__file__).parents[1] / "shim"
    for path in (*(shim / "doctor").glob("*.py"), shim / "cli" / "doctor.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Remark":
                words = [each.value for each in ast.walk(node.args[0]) if isinstance(each, ast.Constant)]
                codes |= {word for word in words if isinstance(word, str)}
                rest = [*node.args[3:], *(keyword.value for keyword in node.keywords if keyword.arg == "mend")]
                mends |= {each.value for each in rest if isinstance(each, ast.Constant)}
    assert len(codes) > 30 and len(mends) == 11
    expected = {f"doctor.{code}" for code in codes} | {f"doctor.mend.{mend}" for mend in mends}
    expected |= {f"doctor.status.{status}" for status in Status} | {"doctor.mend"}
    expected |= {f"doctor.verdict.{status}" for status in Status if status is not Status.NOTE}
    assert {message for message in catalogue("en").ids() if message.startswith("doctor.")} == expected
