"""What a running shim gives up, so that an exploited or wrong one can do little: Landlock, seccomp, privileges.

Takes away only; nothing here can be undone by the process that it is done to. Linux; elsewhere it can do nothing.
"""

from shim.sandbox.enter import PARTS, Needs, confine, offered, restrict, restrict_witness
from shim.sandbox.privileges import limit_resources

__all__ = ["PARTS", "Needs", "confine", "limit_resources", "offered", "restrict", "restrict_witness"]
