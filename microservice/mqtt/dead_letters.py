"""Names what gateway and kit agree on about dead letters: their topic and user properties.

A dead letter is a message whose handler failed at every try. The kit publishes it, payload and
properties unchanged, to a topic that belongs to its container; the gateway keeps it and
acknowledges it. A retried one comes back to the container alone, on its original topic.
"""

from collections.abc import Iterable

ROOT = "$hec/deadletters/"
ALL = f"{ROOT}+"

PREFIX = "hec-"  # user properties of others never start so
HOPS = "hec-hops"  # containers that a message came through; only the gateway writes it
TOPIC, QOS, RETAIN = "hec-topic", "hec-qos", "hec-retain"
ERROR, TRACE, TRIES = "hec-error", "hec-trace", "hec-tries"
RETRIED = "hec-deadletter"  # the id of the dead letter that is retried

ERROR_LIMIT, TRACE_LIMIT = 500, 4_000  # characters

Pairs = tuple[tuple[str, str], ...]


def dead_letter_topic(container_id: str) -> str:
    """Return the topic to which one container publishes its dead letters."""
    return ROOT + container_id


def find_pair(pairs: Iterable[tuple[str, str]], name: str) -> str:
    """Return the value of a user property, "" without one."""
    return next((value for known, value in pairs if known == name), "")


def drop_own_pairs(pairs: Iterable[tuple[str, str]]) -> Pairs:
    """Return the user properties that the message came with."""
    return tuple(each for each in pairs if not each[0].startswith(PREFIX) or each[0] == HOPS)
