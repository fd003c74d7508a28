"""Matches topics with the topic rules, which forward them to the cloud or from it. Pure.

A rename has the wildcards of its filter, in the same order: filter = "sensors/+/temp/#",
rename = "rooms/+/temperature/#" forwards sensors/attic/temp/max as rooms/attic/temperature/max.
"""

from collections.abc import Sequence
from dataclasses import dataclass

UP = "up"
DOWN = "down"
NAMES_LIMIT = 4096  # bounds the cache of names: peers choose the topics


@dataclass(frozen=True, slots=True)
class TopicRule:
    """One [[uplink.topics]] entry."""

    filter: str
    direction: str
    qos: int = 1  # up: 1 survives an outage and a restart, 0 is dropped while offline
    rename: str = ""

    def check(self) -> None:
        """Refuse filters that are not MQTT's, and renames that do not fit their filter."""
        if self.direction not in (UP, DOWN):
            raise ValueError(f'direction = "{self.direction}": must be "{UP}" or "{DOWN}"')
        if self.qos not in (0, 1):
            raise ValueError(f"qos = {self.qos}: must be 0 or 1")
        for key, text in (("filter", self.filter), ("rename", self.rename or self.filter)):
            if not is_filter(text) or text.startswith("$"):
                raise ValueError(f'{key} = "{text}": must be a topic filter not starting with $')
        if self.rename and _wildcards(self.rename) != _wildcards(self.filter):
            raise ValueError(f'rename = "{self.rename}": must have the wildcards of the filter')

    def apply(self, topic: str) -> str | None:
        """Return the topic's name on the other side, or None when the rule is not for it."""
        captured = capture(self.filter, topic)
        if captured is None:
            return None
        return _fill(self.rename, captured) if self.rename else topic


DEFAULT_TOPICS = (TopicRule("devices/#", UP), TopicRule("devices/+/commands/#", DOWN))


class Rules:
    """The rules of one node; the first rule that matches a topic counts."""

    def __init__(self, rules: Sequence[TopicRule]) -> None:
        self.up = tuple(rule for rule in rules if rule.direction == UP)
        self.down = tuple(rule for rule in rules if rule.direction == DOWN)
        self._names: dict[str, tuple[TopicRule, str] | None] = {}

    def route_up(self, topic: str) -> tuple[TopicRule, str] | None:
        """Return the rule for a local topic and its name in the cloud, or None."""
        try:
            return self._names[topic]
        except KeyError:
            pass
        if len(self._names) >= NAMES_LIMIT:
            self._names.clear()
        found = self._names[topic] = _first(self.up, topic)
        return found

    def route_down(self, topic: str) -> tuple[TopicRule, str] | None:
        """Return the rule for a topic from the cloud and its local name, or None."""
        return _first(self.down, topic)


def is_filter(text: str) -> bool:
    """Return whether a text is a topic filter [MQTT-4.7.1-1 to -3, 4.7.3-1 to -3]."""
    levels = text.split("/")
    return (
        0 < len(text.encode()) <= 65535
        and "\0" not in text
        and all(level in ("+", "#") or not set(level) & {"+", "#"} for level in levels)
        and "#" not in levels[:-1]
    )


def capture(topic_filter: str, topic: str) -> list[str] | None:
    """Return the levels of a topic that the wildcards of a filter match; None without a match."""
    if topic.startswith("$") and topic_filter[:1] in ("+", "#"):  # [MQTT-4.7.2-1]
        return None
    captured: list[str] = []
    filter_levels, levels = topic_filter.split("/"), topic.split("/")
    for position, wanted in enumerate(filter_levels):
        if wanted == "#":
            return [*captured, "/".join(levels[position:])]
        if position == len(levels):
            return None
        if wanted == "+":
            captured.append(levels[position])
        elif wanted != levels[position]:
            return None
    return captured if len(levels) == len(filter_levels) else None


def _first(rules: Sequence[TopicRule], topic: str) -> tuple[TopicRule, str] | None:
    for rule in rules:
        name = rule.apply(topic)
        if name is not None:
            return rule, name
    return None


def _wildcards(topic_filter: str) -> list[str]:
    return [level for level in topic_filter.split("/") if level in ("+", "#")]


def _fill(rename: str, captured: list[str]) -> str:
    values = iter(captured)
    levels = [next(values) if level in ("+", "#") else level for level in rename.split("/")]
    if rename.endswith("#") and not levels[-1]:  # "a/#" matches "a" itself
        levels.pop()
    return "/".join(levels)
