"""Values are compared by contents, and made anew with other contents: what is not named stays."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from samples import SAMPLES

from shim.events import Event, LeakFound
from shim.value import remaker

FOUND = next(event for event in SAMPLES if isinstance(event, LeakFound))


def test_the_fields_that_are_named_are_changed_and_no_others() -> None:
    remake = remaker(LeakFound, "count", "rule")
    assert remake(FOUND, 7, "L99") == replace(FOUND, count=7, rule="L99")
    assert remake(FOUND, FOUND.count, FOUND.rule) == FOUND
    assert remake(FOUND, 7, "L99") is not FOUND
    assert (FOUND.count, FOUND.rule) != (7, "L99")


@pytest.mark.parametrize("event", SAMPLES, ids=lambda event: type(event).__name__)
def test_every_field_of_every_event_can_be_changed(event: Event) -> None:
    for each in fields(event):
        changed = remaker(type(event), each.name)(event, "other")  # type: ignore[type-var]
        assert changed == replace(event, **{each.name: "other"})


def test_what_is_no_field_or_too_few_contents_are_told() -> None:
    with pytest.raises(ValueError, match="nothing"):
        remaker(LeakFound, "nothing")
    with pytest.raises(ValueError, match="shorter"):
        remaker(LeakFound, "count", "rule")(FOUND, 1)
