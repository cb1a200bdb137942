"""What the exit of a private network reaches, as a process inside its namespace: `python -m tornet.world`.

Adds the addresses of the names to the loopback interface, says "ready", and lives until its standard input ends.
"""

from __future__ import annotations

import subprocess
import sys

from tornet.network import RESOLVER
from tornet.services import NAMES, Resolver, serve_pages


def add_address(address: str) -> None:
    """Make this machine the one with that IPv4 address."""
    subprocess.run(["ip", "addr", "add", f"{address}/32", "dev", "lo"], check=True, timeout=10)


def main() -> None:
    """Serve the names and the pages."""
    for address in NAMES.values():
        add_address(address)
    Resolver(RESOLVER)
    serve_pages()
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
