"""A witness as a program of its own: observer.py UID CLIENT PORT SERVER PORT prints [pid, reason, uid] of one look-up.

UID is whom it becomes before it looks, or `-`: for tests that look without rights, or from within a namespace.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rig.lookers import look
from shim.witness.clues import Endpoint, Flow
from shim.witness.looking import Trace
from shim.witness.witness import Witness


def main(uid: str, client: str, client_port: str, server: str, server_port: str) -> None:
    """Look once."""
    if uid != "-":
        os.setgroups([])
        os.setgid(int(uid))
        os.setuid(int(uid))
    witness = Witness()
    found = witness.glance(Flow("tcp", Endpoint(client, int(client_port)), Endpoint(server, int(server_port))))
    if isinstance(found, Trace):
        found = look(witness, found)[0].sighting
    witness.close()
    print(json.dumps([found.process and found.process.pid, found.reason, found.uid]))


if __name__ == "__main__":
    main(*sys.argv[1:])
