"""One examination of this machine, from settings to questions.

Judges nothing: each part says what it found.
"""

from __future__ import annotations

from collections.abc import Mapping

from shim.address import Address
from shim.doctor import programs, resolver, sensor
from shim.doctor.machine import Machine
from shim.doctor.remark import Remark, Status


def examine(machine: Machine, environ: Mapping[str, str], dns: Address | None, zone: str | None) -> list[Remark]:
    """All remarks. `dns` is where the sensor listens; with `zone`, a new name below it is looked up as programs do."""
    remarks = [*resolver.look(machine, dns), *programs.look(machine, environ)]
    if dns is None:
        return [*remarks, Remark("sensor_not_given", Status.NOTE)]
    remarks += sensor.look(dns)
    if zone is None:
        return remarks
    found = sensor.canary(dns, zone)
    if found.status is Status.OK:
        remarks = _settled(remarks)
    return [*remarks, found]


_ONE_WAY = ("server_other_port", "server_local", "resolved_unknown")


def _settled(remarks: list[Remark]) -> list[Remark]:
    """A way that settings do not show has been seen now: if it is the only one, for no other was tried."""
    if sum(remark.code in _ONE_WAY for remark in remarks) > 1:
        return remarks
    return [Remark(each.code, Status.NOTE, each.fields) if each.code in _ONE_WAY else each for each in remarks]
