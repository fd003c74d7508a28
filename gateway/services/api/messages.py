"""Describes the messages of a container that it has not handled."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ContainerMessages:
    """The messages of a container, at the broker and set aside."""

    waiting: int = 0  # at the broker, behind those in flight
    in_flight: int = 0
    held: int = 0  # messages whose publishers wait for their acknowledgement
    dropped: int = 0  # by the rule of [mqtt] overflow
    flow: str = "flowing"  # or "holding" or "dropping"
    dead_letters: int = 0  # kept now
    dead_letters_dropped: int = 0  # deleted for newer ones
