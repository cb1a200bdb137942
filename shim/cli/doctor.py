"""`shim doctor`: what of this machine's settings leaks, and how to mend it.

Decides nothing but how it is shown.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from shim.address import Address
from shim.cli.helptext import Command
from shim.cli.options import address_type, lang_option
from shim.cli.status import EXIT_INCONCLUSIVE, EXIT_LEAK, EXIT_OK
from shim.locale import Catalogue

if TYPE_CHECKING:
    from shim.doctor.remark import Remark, Status

FORMATS = ("text", "json")
DEFAULT_ZONE = "example.com"
"""Reserved for such uses (RFC 6761), and yet answered by real servers: a stub resolver has no answer of its own."""

_ZONE = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]\.?", re.IGNORECASE)
_MAX_ZONE = 200
_EXIT = {"leak": EXIT_LEAK, "unknown": EXIT_INCONCLUSIVE, "ok": EXIT_OK}


def command(texts: Catalogue) -> click.Command:
    """The command, with its help in the catalogue's language."""

    def doctor(dns: Address | None, canary: str | None, format: str) -> int:
        return _doctor(dns, canary, format, texts)

    params: list[click.Parameter] = [
        click.Option(["--dns"], type=_sensor(texts), metavar="ADDR", help=texts.text("cli.option.doctor_dns")),
        click.Option(
            ["--canary"],
            is_flag=False,
            flag_value=DEFAULT_ZONE,
            metavar="[ZONE]",
            callback=lambda _context, _option, zone: _checked(zone, texts),
            help=texts.text("cli.option.canary"),
        ),
        click.Option(
            ["--format"], type=click.Choice(FORMATS), default="text", help=texts.text("cli.option.doctor_format")
        ),
        lang_option(texts),
    ]
    return Command(texts, "doctor", "cli.doctor", callback=doctor, params=params)


def _sensor(texts: Catalogue) -> Any:
    parse = address_type(texts)

    def addr(text: str) -> Address:
        address = parse(text)
        if address.is_unix or not address.port:
            raise click.BadParameter(texts.text("cli.doctor.no_sensor"))
        return address

    return addr


def _checked(zone: str | None, texts: Catalogue) -> str | None:
    if zone is not None and (len(zone) > _MAX_ZONE or not _ZONE.fullmatch(zone)):
        raise click.BadParameter(texts.text("cli.doctor.no_zone"))
    return zone and zone.removesuffix(".").lower()


def _doctor(dns: Address | None, canary: str | None, format: str, texts: Catalogue) -> int:
    if canary and dns is None:
        raise click.UsageError(texts.text("cli.doctor.canary_needs_dns"))
    from shim.doctor import examination, upstream
    from shim.doctor.machine import Machine
    from shim.doctor.remark import verdict

    refused = [*_no_namespaces(texts), *_no_sandbox()]
    remarks = [*examination.examine(Machine(), os.environ, dns, canary), upstream.look(), *refused]
    status = verdict(remarks)
    click.echo((_as_json if format == "json" else _as_text)(remarks, status, texts))
    return _EXIT[status]


def _no_namespaces(texts: Catalogue) -> list[Remark]:
    """Why `shim check` cannot make a network of its own here, and which setting of the kernel that is."""
    from shim.doctor.remark import Remark, Status
    from shim.lab.formats.plain import knob
    from shim.lab.isolation import probe

    refused = probe()
    if refused is None:
        return []
    fields = (("step", refused.step), ("why", knob(refused.knob, texts)))
    return [Remark("no_namespaces", Status.NOTE, fields)]


def _no_sandbox() -> list[Remark]:
    """What of the sandbox of `shim run` this system cannot give."""
    from shim.doctor.remark import Remark, Status
    from shim.sandbox import offered

    missing = [part for part, had in offered().items() if not had]
    return [Remark("no_sandbox", Status.NOTE, (("missing", ", ".join(missing)),))] if missing else []


def _as_text(remarks: Sequence[Remark], status: Status, texts: Catalogue) -> str:
    lines = []
    for remark in remarks:
        text, mend = _sentences(remark, texts)
        lines.append(f"{texts.text(f'doctor.status.{remark.status}')} {text}")
        lines += [texts.text("doctor.mend", how=mend)] if mend else []
    return "\n".join([*lines, texts.text(f"doctor.verdict.{status}")])


def _as_json(remarks: Sequence[Remark], status: Status, texts: Catalogue) -> str:
    told = []
    for remark in remarks:
        text, mend = _sentences(remark, texts)
        about = dict(remark.fields)
        told.append({"code": remark.code, "status": remark.status, "about": about, "text": text, "mend": mend})
    return json.dumps({"status": status, "remarks": told}, ensure_ascii=False, indent=2)


def _sentences(remark: Remark, texts: Catalogue) -> tuple[str, str | None]:
    """What is the matter, and how to mend it. What came from a file is made harmless for a terminal."""
    from shim.record.scrub import printable

    fields = {key: printable(value) for key, value in remark.fields}
    mend = None if remark.mend is None else texts.text(f"doctor.mend.{remark.mend}", **fields)
    return texts.text(f"doctor.{remark.code}", **fields), mend
