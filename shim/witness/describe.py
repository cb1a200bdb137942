"""A process as a person knows it: the main process of its program, its label, its parents.

Names nothing that it has not seen: a process that ends meanwhile is not described.
"""

from __future__ import annotations

from shim.model import Ancestor, Process
from shim.witness.labels import label, runs_others, script, wrapper
from shim.witness.proc import Proc, Stat

GENERATIONS = 16
"""Parents climbed at most."""

_HELPER_MARKS = ("--type=", "-contentproc")
"""How Chromium, whatever is built on it, and Firefox start the processes that work for the first one."""


def describe(proc: Proc, stat: Stat) -> Process | None:
    """The program that this process belongs to; None when it has ended."""
    main = main_process(proc, stat)
    exe, arguments = proc.exe(main.pid), proc.arguments(main.pid)
    process = Process(
        pid=main.pid,
        name=main.name,
        exe=exe,
        start=main.start,
        arguments=arguments,
        label=label(proc.control_group(main.pid)),
        uid=proc.uid(main.pid),
        parents=parents(proc, main),
        script=script(exe, arguments),
        wrapper=wrapper(proc.environment(main.pid)),
    )
    return process if proc.stat(main.pid) == main else None


def main_process(proc: Proc, stat: Stat) -> Stat:
    """The topmost ancestor that is the same program: a browser's network service is named as the browser."""
    exe = proc.exe(stat.pid)
    if exe is None:
        return stat
    for _ in range(GENERATIONS):
        parent = proc.stat(stat.parent)
        if parent is None or proc.exe(parent.pid) != exe or not _helps(proc, stat, parent, exe):
            return stat
        stat = parent
    return stat


def parents(proc: Proc, stat: Stat) -> tuple[Ancestor, ...]:
    """From its parent up to the leader of its session: a shell or desktop for a program that a person started."""
    found: list[Ancestor] = []
    while stat.pid != stat.session and len(found) < GENERATIONS:
        parent = proc.stat(stat.parent)
        if parent is None or parent.session != stat.session:
            break
        found.append(Ancestor(parent.pid, parent.name))
        stat = parent
    return tuple(found)


def _helps(proc: Proc, stat: Stat, parent: Stat, exe: str) -> bool:
    """Whether a child that runs its parent's executable works for it: not so for two Pythons, or a shell's script.

    A fork without exec keeps the command line, whatever the executable.
    """
    arguments = proc.arguments(stat.pid)
    if arguments == proc.arguments(parent.pid):
        return True
    if runs_others(exe):
        return False
    return stat.name == parent.name or any(argument.startswith(_HELPER_MARKS) for argument in arguments)
