"""A proc(5) file system made of plain files: processes as they stand in pasted listings, and any number of them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from shim.witness.proc import Kept, Proc, Stat

STAT = (
    "{pid} ({name}) S {parent} {session} {session} 34816 {pid} 4194304 5120 0 12 0 41 9 0 0 20 0 4 0 {start} 245760000 "
    "6100 18446744073709551615 94210000000000 94210000100000 {stack} 0 0 0 0 4096 81922 0 0 0 17 1 0 0 0 0 0 "
    "94210000200000 94210000210000 94210010000000 140720000001000 140720000001100 140720000001100 140720000004000 0\n"
)
STATUS = (
    "Name:\t{name}\nUmask:\t0022\nState:\tS (sleeping)\nPid:\t{pid}\nUid:\t{uid}\t0\t0\t0\nGid:\t100\t100\t100\t100\n"
)


class Procfs(Proc):
    """Processes are added, changed and removed by hand; reads of descriptors are counted."""

    def __init__(self, root: Path) -> None:
        super().__init__(str(root))
        self.root = root
        self.probes = 0
        self.write("loadavg", "0.10 0.20 0.30 1/300 0\n")
        self.write("self/status", "CapEff:\t000001ffffffffff\n")

    def write(self, path: str, text: str | bytes) -> None:
        """One file."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text)

    def add(
        self,
        pid: int,
        name: str,
        parent: int = 1,
        *,
        exe: str | None = None,
        arguments: Sequence[str] = (),
        session: int = 1,
        start: int = 1000,
        stack: int = 140720000000000,
        uid: int = 1000,
        cgroup: str = "/",
        environment: bytes = b"",
        sockets: Mapping[int, int] | None = None,
    ) -> None:
        """A process; `sockets` are inodes by descriptor."""
        words = {"pid": pid, "name": name, "parent": parent, "session": session, "start": start, "stack": stack}
        self.write(f"{pid}/stat", STAT.format(**words))
        self.write(f"{pid}/status", STATUS.format(pid=pid, name=name, uid=uid))
        self.write(f"{pid}/cmdline", "".join(f"{argument}\0" for argument in arguments))
        self.write(f"{pid}/cgroup", f"0::{cgroup}\n")
        self.write(f"{pid}/environ", environment)
        link = self.root / str(pid) / "exe"
        link.unlink(missing_ok=True)
        if exe is not None:
            link.symlink_to(exe)
        for descriptor, inode in (sockets or {}).items():
            self.open(pid, descriptor, f"socket:[{inode}]")

    def open(self, pid: int, descriptor: int, what: str) -> None:
        """Put something at a descriptor."""
        link = self.root / str(pid) / "fd" / str(descriptor)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(what)

    def shut(self, pid: int, descriptor: int) -> None:
        """Take it away again."""
        (self.root / str(pid) / "fd" / str(descriptor)).unlink()

    def remove(self, pid: int) -> None:
        """End a process."""
        for folder, _, files in os.walk(self.root / str(pid), topdown=False):
            for name in files:
                (Path(folder) / name).unlink()
            for link in Path(folder).iterdir():
                link.unlink()
            Path(folder).rmdir()

    def socket_at(self, pid: int, descriptor: int) -> int | None:
        self.probes += 1
        return super().socket_at(pid, descriptor)

    def keep(self, stat: Stat) -> Kept | None:
        try:
            return _Counted(self, stat)
        except OSError:
            return None


class _Counted(Kept):
    """A process kept open, whose reads of descriptors count with all others."""

    def __init__(self, tree: Procfs, stat: Stat) -> None:
        super().__init__(str(tree.root), stat)
        self._tree = tree

    def socket_at(self, descriptor: int) -> int | None:
        self._tree.probes += 1
        return super().socket_at(descriptor)
