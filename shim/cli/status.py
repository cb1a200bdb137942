"""Exit statuses of the contract, and the two that no verdict uses."""

EXIT_OK = 0
EXIT_LEAK = 1
EXIT_USAGE = 2
EXIT_INCONCLUSIVE = 3
EXIT_FAULT = 70
"""EX_SOFTWARE of sysexits.h. Python's own 1 would read as a leak that was found."""
EXIT_INTERRUPTED = 130
"""Ctrl-C before the command could take care of it: 128 + SIGINT, as shells say it."""
