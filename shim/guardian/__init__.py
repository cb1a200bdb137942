"""The guardian: a process forked before the sandbox is entered, which starts what must be outside of it.

That is our own tor, the process that looks up programs, and cleaning up at the end. It is told by single bytes which of
these to do, and nothing else, so that a worker in wrong hands cannot have it do anything new.
"""

from shim.guardian.guardian import Guardian, Leftover
from shim.guardian.link import GuardedTor, Link

__all__ = ["GuardedTor", "Guardian", "Leftover", "Link"]
