"""A process as a person knows it: the main process of its program, its label, its parents.

Never takes what belongs to another process: of one that ends meanwhile only number and name are told.
"""

from __future__ import annotations

from shim.model import Ancestor, Process
from shim.witness.labels import label, plain, runs_others, script, wrapper
from shim.witness.proc import Proc, Stat

GENERATIONS = 16
"""Parents climbed at most."""

_HELPER_MARKS = ("--type=", "-contentproc")
"""How Chromium, whatever is built on it, and Firefox start the processes that work for the first one."""


def describe(proc: Proc, stat: Stat) -> Process:
    """The program that this process belongs to; only its number and name when it has ended meanwhile."""
    # What vanishes with its memory is read before it is asked whether it still lives: a client may live no longer than
    # its request takes, and one without its environment would seem to make its connections by itself.
    exe, arguments, environment = proc.exe(stat.pid), proc.arguments(stat.pid), proc.environment(stat.pid)
    if proc.stat(stat.pid) != stat:  # ended, or another program by now: what was read may be that one's
        return Process(stat.pid, plain(stat.name, None), None, start=stat.start)
    main = main_process(proc, stat, exe, arguments)
    if main is not stat:
        arguments = proc.arguments(main.pid)
    return Process(
        pid=main.pid,
        name=plain(main.name, exe),
        exe=exe,
        start=main.start,
        arguments=arguments,
        label=label(proc.control_group(main.pid)),
        uid=proc.uid(main.pid),
        parents=parents(proc, main),
        script=script(exe, arguments),
        wrapper=wrapper(environment),
    )


def main_process(proc: Proc, stat: Stat, exe: str | None, arguments: tuple[str, ...]) -> Stat:
    """The topmost ancestor that is the same program: a browser's network service is named as the browser."""
    if exe is None:
        return stat
    for _ in range(GENERATIONS):
        parent = proc.stat(stat.parent)
        if parent is None or proc.exe(parent.pid) != exe:
            break
        theirs = proc.arguments(parent.pid)
        if not _helps(stat, arguments, parent, theirs, exe):
            break
        stat, arguments = parent, theirs
    return stat


def parents(proc: Proc, stat: Stat) -> tuple[Ancestor, ...]:
    """From its parent up to the leader of its session: a shell or desktop for a program that a person started."""
    found: list[Ancestor] = []
    while stat.pid != stat.session and len(found) < GENERATIONS:
        parent = proc.stat(stat.parent)
        if parent is None or parent.session != stat.session:
            break
        found.append(Ancestor(parent.pid, plain(parent.name, None)))
        stat = parent
    return tuple(found)


def _helps(stat: Stat, arguments: tuple[str, ...], parent: Stat, theirs: tuple[str, ...], exe: str) -> bool:
    """Whether a child that runs its parent's executable works for it: not so for two Pythons, or a shell's script.

    A fork without exec keeps the command line, whatever the executable.
    """
    if arguments == theirs:
        return True
    if runs_others(exe):
        return False
    return stat.name == parent.name or any(argument.startswith(_HELPER_MARKS) for argument in arguments)
