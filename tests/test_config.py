"""The configuration: defaults, files, flags, every mistake with its line, and what a reload changes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.address import Address
from shim.config import Config, Flag, as_toml, changes, load, needs_restart
from shim.config.problems import KEYS
from shim.config.reading import MAX_FILE_BYTES
from shim.errors import ConfigError
from shim.locale import LANGUAGES
from shim.model import Mode
from shim.policy import Policy


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "shim.toml"


def problems(path: Path | None, *flags: Flag, workers: int = 1, lang: str = "en") -> list[str]:
    """The lines of the error, the directory of the file cut off."""
    with pytest.raises(ConfigError) as caught:
        load(path, flags, workers=workers, lang=lang)
    prefix = f"{path.parent}/" if path else ""
    return [line.removeprefix(prefix) for line in caught.value.problems]


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_without_a_file_everything_is_the_default() -> None:
    config = load()
    assert changes(config, Config()) == ()
    assert config.listen.socks == (Address("127.0.0.1", 9250),)
    assert (config.listen.http, config.listen.allow_remote, config.listen.unix_socket_mode) == ((), False, 0o600)
    assert (config.upstream.address, config.upstream.tor_command) == ("auto", "tor")
    assert config.policy == Policy()
    assert config.log.safe_logging is True


def test_an_empty_file_is_the_default(file: Path) -> None:
    assert changes(load(written(file, "")), Config()) == ()


def test_a_whole_file_is_read(file: Path) -> None:
    config = load(
        written(
            file,
            """
            [listen]
            socks = ["[::1]:1080", "unix:/run/shim/socks"]
            http = ["0.0.0.0:8118"]
            allow_remote = true
            unix_socket_mode = "0660"
            [upstream]
            address = "unix:/run/tor/socks"
            connect_timeout_s = 2.5
            [policy]
            mode = "repair"
            allow_local = ["127.0.0.1:8080"]
            """,
        )
    )
    assert config.listen.socks == (Address("::1", 1080), Address(path="/run/shim/socks"))
    assert config.listen.http == (Address("0.0.0.0", 8118),)
    assert config.listen.unix_socket_mode == 0o660
    assert config.upstream.address == Address(path="/run/tor/socks")
    assert config.upstream.connect_timeout_s == 2.5
    assert config.policy.mode is Mode.REPAIR
    assert config.policy.allows("localhost", 1) is False
    assert len(config.policy.allowances) == 1


def test_it_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Config().log.level = "debug"


# Each mistake: the file's text, and the line (without the file's name) that it must bring.
MISTAKES = [
    ("[listen]\nsocks = ['127.0.0.1:99999']", ":2: listen.socks: must be HOST:PORT, [V6]:PORT or unix:PATH, "
     "got '127.0.0.1:99999' — the port must be 0 to 65535"),
    ("[listen]\nsocks = ['tor.example:1']", ":2: listen.socks: must be HOST:PORT, [V6]:PORT or unix:PATH, "
     "got 'tor.example:1' — the host must be an IP address, because names are never resolved"),
    ("[listen]\nsocks = ['::1:1']", ":2: listen.socks: must be HOST:PORT, [V6]:PORT or unix:PATH, "
     "got '::1:1' — an IPv6 address needs brackets"),
    ("[listen]\nhttp = ['unix:']", ":2: listen.http: must be HOST:PORT, [V6]:PORT or unix:PATH, "
     "got 'unix:' — a unix socket needs a path of 1 to 107 bytes"),
    ("[listen]\nsocks = '127.0.0.1:1'", ":2: listen.socks: must be a list in brackets, got '127.0.0.1:1'"),
    ("[listen]\nsocks = [9250]", ":2: listen.socks: must be text in quotes, got 9250"),
    ("[listen]\nsocks = [['127.0.0.1:1']]", ":2: listen.socks: must be text in quotes, got […]"),
    ("[listen]\nallow_remote = 'yes'", ":2: listen.allow_remote: must be true or false, got 'yes'"),
    ("[listen]\nallow_remote = 1", ":2: listen.allow_remote: must be true or false, got 1"),
    ("[listen]\nunix_socket_mode = 600", ":2: listen.unix_socket_mode: must be octal digits as text, "
     "from '0000' to '0777', got 600"),
    ("[listen]\nunix_socket_mode = '0888'", ":2: listen.unix_socket_mode: must be octal digits as text, "
     "from '0000' to '0777', got '0888'"),
    ("[listen]\nunix_socket_mode = '1777'", ":2: listen.unix_socket_mode: must be octal digits as text, "
     "from '0000' to '0777', got '1777'"),
    ("[listen]\nsock = 1", ":2: listen.sock: unknown key — did you mean 'listen.socks'?"),
    ("listen = 3", ":1: listen: must be a table, got 3"),
    ("policy = 3", ":1: policy: must be a table, got 3"),
    ("\nmode = 'block'", ":2: mode: unknown key — did you mean 'policy.mode'?"),
    ("[lissten]\nsocks = []", ":1: lissten: unknown key — did you mean 'listen'?"),
    ("[zzz]", ":1: zzz: unknown key — allowed here: listen, upstream, policy, dns, log, limits, sandbox"),
    ("[upstream]\naddress = 9050", ":2: upstream.address: must be 'auto', HOST:PORT, [V6]:PORT or unix:PATH, got 9050"),
    ("[upstream]\naddress = 'Auto'", ":2: upstream.address: must be 'auto', HOST:PORT, [V6]:PORT or unix:PATH, "
     "got 'Auto' — the port is missing"),
    ("[upstream]\naddress = '127.0.0.1:0'", ":2: upstream.address: must be 'auto', HOST:PORT, [V6]:PORT or unix:PATH, "
     "got '127.0.0.1:0' — port 0 cannot be connected to"),
    ("[upstream]\ntor_command = ''", ":2: upstream.tor_command: must be the name or the path of a program, got ''"),
    ("[upstream]\npipelining = 1", ":2: upstream.pipelining: must be true or false, got 1"),
    ("[upstream]\nconnect_timeout_s = 0", ":2: upstream.connect_timeout_s: must be more than 0, got 0"),
    ("[upstream]\nreply_timeout_s = inf", ":2: upstream.reply_timeout_s: must be a number, got inf"),
    ("[upstream]\nreply_timeout_s = '9'", ":2: upstream.reply_timeout_s: must be a number, got '9'"),
    ("[upstream]\nreply_timeout_s = 86401", ":2: upstream.reply_timeout_s: must be 86400 or less, got 86401"),
    ("[policy]\nmode = 'blok'", ":2: policy.mode: must be one of 'warn', 'block', 'repair', "
     "got 'blok' — did you mean 'block'?"),
    ("[policy]\nisolate = 3", ":2: policy.isolate: must be one of 'none', 'client', 'destination', got 3"),
    ("[policy]\nlevel = 'info'", ":2: policy.level: unknown key — did you mean 'log.level'?"),
    ("[policy]\nallowances = []", ":2: policy.allowances: unknown key — allowed here: mode, "
     "address_as_text, allow_local, isolate, http_hint, wait_for_name, warn_plaintext_ports, reject_plaintext_ports, "
     "rule"),
    ("[policy]\nwarn_plaintext_ports = [23, 0]",
     ":2: policy.warn_plaintext_ports: must be a port of 1 to 65535, got 0"),
    ("[policy]\nreject_plaintext_ports = [70000]",
     ":2: policy.reject_plaintext_ports: must be a port of 1 to 65535, got 70000"),
    ("[policy]\nwarn_plaintext_ports = ['imap']",
     ":2: policy.warn_plaintext_ports: must be a whole number, got 'imap'"),
    ("[policy]\nwarn_plaintext_ports = 23", ":2: policy.warn_plaintext_ports: must be a list in brackets, got 23"),
    ("[policy]\nallow_local = ['::1', 'example.com']", ":2: policy.allow_local: each entry must be an address, a "
     "network or a local name, an address or name also with a port (127.0.0.1, 10.0.0.0/8, localhost:8080), "
     "got 'example.com'"),
    ("[limits]\nconnections = 0", ":2: limits.connections: must be 1 or more, got 0"),
    ("[limits]\nhandshakes = 1.5", ":2: limits.handshakes: must be a whole number, got 1.5"),
    ("[limits]\nidle_timeout_s = -1", ":2: limits.idle_timeout_s: must be 0 or more, got -1"),
    ("[limits]\nzzz = 1", ":2: limits.zzz: unknown key — allowed here: connections, connections_per_client, "
     "connections_per_process, handshakes, handshake_timeout_s, idle_timeout_s, drain_timeout_s"),
    ("[listen]\nsocks = []", ":2: listen.socks: there is nothing to listen on; give at least one address"),
    ("[listen]\nsocks = ['192.0.2.1:1']", ":2: listen.socks: '192.0.2.1:1' can be reached from other machines; "
     "if that is meant, set listen.allow_remote = true"),
    ("[listen]\nhttp = ['[::]:1']", ":2: listen.http: '[::]:1' can be reached from other machines; "
     "if that is meant, set listen.allow_remote = true"),
    ("[listen]\ndns = ['192.0.2.1:53']", ":2: listen.dns: '192.0.2.1:53' can be reached from other machines; "
     "if that is meant, set listen.allow_remote = true"),
    ("[listen]\nhttp = ['localhost:9250']", ":2: listen.http: '127.0.0.1:9250' is listened on twice"),
    ("[listen]\nsocks = ['unix:/a', 'unix:/a']", ":2: listen.socks: 'unix:/a' is listened on twice"),
    ("[listen]\nallow_remote = true\nhttp = ['0.0.0.0:9250']",
     ":3: listen.http: '0.0.0.0:9250' cannot be listened on beside '127.0.0.1:9250'"),
    ("[upstream]\naddress = '127.0.0.1:9250'",
     ":2: upstream.address: '127.0.0.1:9250' is the shim itself: requests would go round in a circle"),
    ("[listen]\nsocks = ['0.0.0.0:9050']\nallow_remote = true\n[upstream]\naddress = 'localhost:9050'",
     ":5: upstream.address: '127.0.0.1:9050' is the shim itself: requests would go round in a circle"),
    ("[listen]\ndns = ['unix:/d']",
     ":2: listen.dns: DNS is spoken by UDP and TCP, not on a unix socket; got 'unix:/d'"),
    ("[upstream]\naddress = '127.0.0.1:9050'\ncontrol = 'localhost:9050'", ":3: upstream.control: '127.0.0.1:9050' is "
     "where requests go; Tor's control port is another one (ControlPort in torrc, mostly 9051)"),
    ("[upstream]\ncontrol = '127.0.0.1:9250'",
     ":2: upstream.control: '127.0.0.1:9250' is a listener of the shim, and no control port of Tor's"),
    ("[upstream]\ncontrol_password_file = '/p'",
     ":2: upstream.control_password_file: has no effect without upstream.control"),
    ("a = 3\n[listen]\nsocks == 3", ":3:8: is not TOML: Invalid value"),
    ("a = 1\na = 2\n", ":2:6: is not TOML: Cannot overwrite a value"),
    ("a = [", ": is not TOML: Invalid value"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line"), MISTAKES)
def test_a_mistake_is_named_with_file_line_key_value_and_what_is_allowed(file: Path, text: str, line: str) -> None:
    assert problems(written(file, text)) == [f"shim.toml{line}"]


@pytest.mark.parametrize(("text", "line"), MISTAKES)
def test_every_mistake_is_explained_in_japanese_too(file: Path, text: str, line: str) -> None:
    english, japanese = problems(written(file, text)), problems(file, lang="ja")
    assert len(english) == len(japanese)
    assert all(any("ぁ" <= character <= "ん" for character in told) for told in japanese)


def test_all_problems_come_at_once_in_the_order_of_the_file(file: Path) -> None:
    got = problems(
        written(
            file,
            "[listen]\nsocks = ['127.0.0.1:x']\nallow_remote = 1\n[policy]\nmode = 'repair'\nallow_local = ['x']\n"
            "frob = 1\n[log]\nlevel = 'loud'\n",
        ),
        Flag("--http", "listen.http", ["0.0.0.0:1"]),
        workers=2,
    )
    assert [line.partition(": ")[0] for line in got] == [
        "--workers",
        "shim.toml:2",
        "shim.toml:3",
        "shim.toml:6",
        "shim.toml:7",
        "shim.toml:9",
    ]


def test_every_entry_that_no_policy_can_hold_is_named(file: Path) -> None:
    text = "[policy]\nwarn_plaintext_ports = [0, 23, -1]\nallow_local = ['x', '::1', 'y']\nmode = 1\n"
    got = [line.partition(", got ")[::2] for line in problems(written(file, text))]
    assert [(place.partition(": ")[0], value) for place, value in got] == [
        ("shim.toml:2", "-1"),
        ("shim.toml:2", "0"),
        ("shim.toml:3", "'x'"),
        ("shim.toml:3", "'y'"),
        ("shim.toml:4", "1"),
    ]


def test_a_contradiction_is_judged_beside_other_problems(file: Path) -> None:
    got = problems(written(file, "[log]\nlevel = 1\n[upstream]\naddress = '127.0.0.1:9250'\n"))
    assert [line.partition(": ")[0] for line in got] == ["shim.toml:2", "shim.toml:4"]


def test_a_wrong_value_is_not_judged_twice(file: Path) -> None:
    """The default that stands in for a wrong list must not collide with anything."""
    got = problems(written(file, "[listen]\nsocks = ['x']\nhttp = ['127.0.0.1:9250']\n"))
    assert len(got) == 1


def test_two_listeners_on_any_free_port_are_fine() -> None:
    flags = [Flag("--socks", "listen.socks", ["127.0.0.1:0", "127.0.0.1:0", "[::1]:9250"])]
    assert len(load(None, flags).listen.socks) == 3


def test_another_machine_s_port_is_not_the_shim_itself() -> None:
    flags = [
        Flag("--socks", "listen.socks", ["127.0.0.1:9050"]),
        Flag("--upstream", "upstream.address", "192.0.2.1:9050"),
    ]
    assert load(None, flags).upstream.address == Address("192.0.2.1", 9050)


def test_control_and_bidi_characters_of_a_value_are_escaped(file: Path) -> None:
    (line,) = problems(written(file, '[policy]\nmode = "\\u001b[31m\\u202eX\\n"\n'))
    assert line.isprintable()
    assert r"'\x1b[31m\u202eX\n'" in line


def test_a_long_value_is_cut(file: Path) -> None:
    (line,) = problems(written(file, f"[policy]\nmode = '{'x' * 9999}'\n"))
    assert len(line) < 200


def test_a_missing_file_is_named(file: Path) -> None:
    assert problems(file) == ["shim.toml: cannot be read: No such file or directory"]


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    assert problems(tmp_path / ".") == [f"{tmp_path.name}: cannot be read: Is a directory"]


def test_an_endless_file_is_not_read_to_its_end() -> None:
    assert problems(Path("/dev/zero")) == [f"zero: is larger than {MAX_FILE_BYTES} bytes: is it another file?"]


def test_what_is_not_utf8_is_named(file: Path) -> None:
    file.write_bytes(b"a = '\xff'")
    assert problems(file) == ["shim.toml: is not UTF-8 text (byte 5)"]


@pytest.mark.parametrize("text", ["a = " + "[" * 5000, "a = " + "9" * 5000, "a = 9e999999", "a = 1979-05-27"])
def test_strange_toml_is_an_error_line_not_a_traceback(file: Path, text: str) -> None:
    assert len(problems(written(file, text))) == 1


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("['a.b']\nmode = -1", 1),
        ("'policy.mode' = 'x'\n[policy]\nmode = 1", 2),
        ("'policy.rule[1]' = 1", 1),
        ("[policy]\n'rule[3]' = 1\n'rule[3].x' = 1\n'a.b' = 1", 3),
        ("[[policy.rule]]\n'a.b' = 1\nmode = 'block'", 1),
    ],
)
def test_a_key_with_dots_is_unknown_like_any_other(file: Path, text: str, count: int) -> None:
    """It was looked for in a section of the name before its first dot, for ever."""
    assert len(problems(written(file, text))) == count


def test_a_flag_replaces_the_file_s_value_a_list_as_a_whole(file: Path) -> None:
    written(file, "[listen]\nsocks = ['127.0.0.1:1', '127.0.0.1:2']\n[policy]\nmode = 'block'\nhttp_hint = true\n")
    flags = [
        Flag("--socks", "listen.socks", ["127.0.0.1:3"]),
        Flag("--mode", "policy.mode", "warn"),
        Flag("--reveal", "log.safe_logging", False),
    ]
    config = load(file, flags)
    assert config.listen.socks == (Address("127.0.0.1", 3),)
    assert (config.policy.mode, config.policy.http_hint, config.log.safe_logging) == (Mode.WARN, True, False)


def test_a_flag_mends_the_file_s_bad_value(file: Path) -> None:
    assert load(written(file, "[policy]\nmode = 'x'"), [Flag("--mode", "policy.mode", "block")]).policy.mode == "block"


def test_a_wrong_flag_is_named_as_the_flag(file: Path) -> None:
    written(file, "[policy]\nmode = 'block'\n")
    assert problems(file, Flag("--mode", "policy.mode", "rapair")) == [
        "--mode: must be one of 'warn', 'block', 'repair', got 'rapair' — did you mean 'repair'?"
    ]


def test_a_flag_against_a_section_that_is_no_table(file: Path) -> None:
    flag = Flag("--mode", "policy.mode", "block")
    assert problems(written(file, "policy = 1"), flag) == ["shim.toml:1: policy: must be a table, got 1"]


@pytest.mark.parametrize(
    ("flag", "what"),
    [
        (Flag("--mode", "policy.mode", "repair"), "mode 'repair'"),
        (Flag("--dns", "listen.dns", ["127.0.0.1:5453"]), "a DNS listener"),
        (Flag("--control", "upstream.control", "127.0.0.1:9051"), "a control port"),
    ],
)
def test_what_several_workers_cannot_do_yet(flag: Flag, what: str) -> None:
    load(None, [flag], workers=1)
    (line,) = problems(None, flag, workers=2)
    assert line == f"--workers: must be 1 with {what}, got 2: workers do not share what they know yet"


def test_a_reload_reads_the_file_again_and_keeps_the_flags(file: Path) -> None:
    config = load(written(file, "[limits]\nhandshakes = 7\n"), [Flag("--mode", "policy.mode", "block")])
    written(file, "[limits]\nhandshakes = 8\n[policy]\nmode = 'warn'\n")
    again = config.reload()
    assert (again.limits.handshakes, again.policy.mode) == (8, Mode.BLOCK)
    written(file, "[limits]\nhandshakes = 'x'\n")
    with pytest.raises(ConfigError, match=r"limits\.handshakes"):
        again.reload()
    assert Config().reload() == Config()


def test_what_changed_and_what_of_it_needs_a_restart(file: Path) -> None:
    old = load(written(file, "[listen]\nsocks = ['127.0.0.1:1']\n"))
    new = load(
        written(
            file,
            "[listen]\nsocks = ['127.0.0.1:2']\n[upstream]\naddress = 'unix:/x'\npipelining = false\n"
            "[policy]\nmode = 'block'\n[log]\nlevel = 'debug'\nformat = 'json'\n[limits]\nhandshakes = 1\n",
        )
    )
    changed = changes(old, new)
    assert set(needs_restart(changed)) == {"listen.socks", "upstream.address", "log.format"}
    assert set(changed) == {
        *needs_restart(changed),
        "upstream.pipelining",
        "policy.mode",
        "log.level",
        "limits.handshakes",
    }
    assert changes(new, new) == ()


@pytest.mark.parametrize("lang", LANGUAGES)
def test_what_is_shown_reads_back_to_the_same(file: Path, lang: str) -> None:
    flags = [
        Flag("--socks", "listen.socks", ["[::1]:1", 'unix:/tmp/a "quoted" \\ path\x7f\x01é']),
        Flag("", "listen.unix_socket_mode", "640"),
        Flag("", "upstream.connect_timeout_s", 0.25),
        Flag("", "policy.allow_local", ["localhost:1", "10.0.0.0/8"]),
    ]
    config = load(None, flags, lang=lang)
    shown = as_toml(config)
    assert changes(config, load(written(file, shown), lang=lang)) == ()
    assert 'unix_socket_mode = "0640"' in shown


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["auto", "127.0.0.1:1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.lists(st.tuples(st.sampled_from([*KEYS, "zzz.a", "policy.zzz"]), plain), max_size=6))
def test_any_values_are_a_configuration_or_a_configuration_error(settings: list[tuple[str, object]]) -> None:
    try:
        config = load(None, [Flag("", key, value) for key, value in settings])
    except ConfigError as error:
        assert all(line.isprintable() for line in error.problems)
    else:
        assert changes(config, config) == ()
