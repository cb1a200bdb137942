"""Every setting with its type, bounds and default: the one place that a new setting is added to.

Holds values only: what a setting means to a person stands in config.example.toml, what contradicts what in `checks`.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    PrivateAttr,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from shim.address import Address, AddressError
from shim.model import DnsMode
from shim.policy import DnsPolicy, Policy

N = TypeVar("N", IPv4Network, IPv6Network)

AUTO = "auto"
_DAY_S = 86400
_MANY = 1_000_000
_MAX_MODE = 0o777


def _address(value: object) -> Address:
    if not isinstance(value, str):
        raise PydanticCustomError("string_type", "not text")
    try:
        return Address.parse(value)
    except AddressError as error:
        raise PydanticCustomError("address", "no address", {"reason": error.reason}) from None


def _upstream(value: object) -> Address | Literal["auto"]:
    if value == AUTO:
        return "auto"
    try:
        address = Address.parse(value) if isinstance(value, str) else None
    except AddressError as error:
        raise PydanticCustomError("upstream", "no upstream", {"reason": error.reason}) from None
    if address is None or (address.port == 0 and not address.is_unix):
        raise PydanticCustomError("upstream", "no upstream", {"reason": "reason.port_zero"} if address else None)
    return address


def _control(value: object) -> Address | None:
    try:
        address = Address.parse(value) if isinstance(value, str) and value else None
    except AddressError as error:
        raise PydanticCustomError("control", "no control port", {"reason": error.reason}) from None
    if value != "" and (address is None or (address.port == 0 and not address.is_unix)):
        raise PydanticCustomError("control", "no control port", {"reason": "reason.port_zero"} if address else None)
    return address


def _file_mode(value: object) -> int:
    if isinstance(value, str) and value and set(value) <= set("01234567") and int(value, 8) <= _MAX_MODE:
        return int(value, 8)
    raise PydanticCustomError("file_mode", "no file mode")


def _program(value: str) -> str:
    if not value or "\0" in value:
        raise PydanticCustomError("program", "no program")
    return value


def _state_file(value: str) -> str:
    if "\0" in value or (value and not value.startswith("/")):
        raise PydanticCustomError("state_file", "no absolute path")
    return value


def _network(kind: type[N], longest: int) -> Callable[[object], N]:
    """A pool to issue from: a network of this kind that has at least a few hundred addresses."""

    def read(value: object) -> N:
        try:
            network = kind(value) if isinstance(value, str) else None
        except ValueError:
            network = None
        if network is None or network.prefixlen > longest:
            raise PydanticCustomError("network", "no network", {"family": kind.__name__[:4], "longest": longest})
        return network

    return read


Listener = Annotated[
    Address, PlainValidator(_address), PlainSerializer(str), WithJsonSchema({"type": "string", "format": "ADDR"})
]
UpstreamAddress = Annotated[
    Address | Literal["auto"],
    PlainValidator(_upstream),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "format": '`"auto"` or ADDR'}),
]
ControlAddress = Annotated[
    Address | None,
    PlainValidator(_control),
    PlainSerializer(lambda address: str(address or ""), return_type=str),
    WithJsonSchema({"type": "string", "format": '`""` or ADDR'}),
]
FileMode = Annotated[
    int,
    PlainValidator(_file_mode),
    PlainSerializer(lambda mode: f"{mode:04o}", return_type=str),
    WithJsonSchema({"type": "string", "format": '`"0000"` to `"0777"`'}),
]
Program = Annotated[str, AfterValidator(_program)]
Network4 = Annotated[
    IPv4Network,
    PlainValidator(_network(IPv4Network, 24)),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "format": "IPv4 network, /24 or larger"}),
]
Network6 = Annotated[
    IPv6Network,
    PlainValidator(_network(IPv6Network, 112)),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "format": "IPv6 network, /112 or larger"}),
]
Quarantine = Annotated[float, Field(ge=60, le=_DAY_S, allow_inf_nan=False)]
StateFile = Annotated[str, AfterValidator(_state_file), WithJsonSchema({"type": "string", "format": "absolute path"})]
Deadline = Annotated[float, Field(gt=0, le=_DAY_S, allow_inf_nan=False)]
OptionalDeadline = Annotated[float, Field(ge=0, le=_DAY_S, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=_MANY)]


class Section(BaseModel):
    """One table of the file. Strict: a number as text is no number; frozen: it is replaced, never changed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Listen(Section):
    """Where applications reach the shim."""

    socks: tuple[Listener, ...] = (Address("127.0.0.1", 9250),)
    http: tuple[Listener, ...] = ()
    dns: tuple[Listener, ...] = ()
    allow_remote: bool = False
    unix_socket_mode: FileMode = 0o600


class Upstream(Section):
    """Where requests go: Tor, or another SOCKS5 proxy."""

    address: UpstreamAddress = "auto"
    tor_command: Program = "tor"
    pipelining: bool = True
    control: ControlAddress = None
    control_password_file: StateFile = ""
    connect_timeout_s: Deadline = 10
    reply_timeout_s: Deadline = 120


class Dns(Section):
    """How the sensor answers."""

    mode: Literal["refuse", "issue", "tor"] = "refuse"
    refusal: Literal["NXDOMAIN", "REFUSED"] = "NXDOMAIN"
    ipv6: bool = False
    network4: Network4 = IPv4Network("198.18.0.0/15")
    network6: Network6 = IPv6Network("2001:2::/48")
    capacity: Count = 65535
    quarantine_s: Quarantine = 600
    state: StateFile = ""
    queries_per_second: Annotated[int, Field(ge=0, le=_MANY)] = 5000

    @property
    def policy(self) -> DnsPolicy:
        """What the judge needs of it."""
        return DnsPolicy(DnsMode(self.mode), self.refusal, self.ipv6)


class Log(Section):
    """What is written to standard error."""

    format: Literal["text", "json"] = "text"
    level: Literal["debug", "info", "warning"] = "info"
    safe_logging: bool = True
    attribution: bool = True
    lang: Literal["auto", "en", "ja"] = "auto"
    color: Literal["auto", "always", "never"] = "auto"


class Limits(Section):
    """How much at once, and how long; 0 switches an optional deadline off."""

    connections: Count = 16384
    connections_per_client: Count = 8192
    connections_per_process: Count = 1024
    handshakes: Count = 4096
    handshake_timeout_s: Deadline = 10
    idle_timeout_s: OptionalDeadline = 0
    drain_timeout_s: OptionalDeadline = 5


class Sandbox(Section):
    """What the running shim gives up."""

    mode: Literal["auto", "require", "off"] = "auto"


class Config(Section):
    """All settings."""

    listen: Listen = Listen()
    upstream: Upstream = Upstream()
    policy: Policy = Policy()
    dns: Dns = Dns()
    log: Log = Log()
    limits: Limits = Limits()
    sandbox: Sandbox = Sandbox()

    _source: Path | None = PrivateAttr(default=None)
    _again: Callable[[], Config] | None = PrivateAttr(default=None)

    def reload(self) -> Config:
        """The same file and flags read again (SIGHUP); ConfigError if they are bad now. No file: this very one."""
        return self._again() if self._again else self

    @property
    def source(self) -> Path | None:
        """The file that it was read from, if there was one."""
        return self._source

    def came_from(self, source: Path | None, again: Callable[[], Config]) -> Config:
        """Remember how to read this configuration again."""
        self._source = source
        self._again = again
        return self
