"""How the shim's values are declared: dataclasses that nobody changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True)
def value(cls: type[T]) -> type[T]:
    """A frozen dataclass with slots: compared and hashed by its contents.

    That it is frozen is proved by the type checker, not enforced at run time: `frozen=True` sets every field through
    `object.__setattr__`, which doubles the cost of making one (1.2 us against 0.5 us; a connection makes seven).
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)
