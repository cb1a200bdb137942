"""The guardian: a process forked before the sandbox is entered, which starts what must be outside of it.

That is our own tor, the process that looks up programs, and cleaning up at the end. What these are it is told before
any byte of a stranger is read; after that single bytes say which of them to do, so that a worker in wrong hands cannot
have it do anything new.
"""

from shim.guardian.duties import Duties, Leftover
from shim.guardian.guardian import Guardian
from shim.guardian.link import GuardedTor, Link

__all__ = ["Duties", "GuardedTor", "Guardian", "Leftover", "Link"]
