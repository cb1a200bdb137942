"""shim.errors: whatever the system says of an error becomes a code that a log shows as it is."""

from __future__ import annotations

import errno

import pytest

from shim.errors import system_code
from shim.record.scrub import code


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.EACCES, "permission_denied"),
        (errno.ENOSPC, "no_space_left_on_device"),
        (errno.EROFS, "read_only_file_system"),
        (errno.EIO, "input_output_error"),
    ],
)
def test_the_systems_own_words(number: int, expected: str) -> None:
    assert system_code(OSError(number, "/home/somebody/a/path")) == expected


@pytest.mark.parametrize("number", [None, 0, *errno.errorcode, 9999])
def test_every_error_has_a_code_that_needs_no_scrubbing(number: int | None) -> None:
    found = system_code(OSError() if number is None else OSError(number, ""))
    assert found and code(found, False) == found
