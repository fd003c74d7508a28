"""Checks topics against the filters that a container may publish to."""

from collections.abc import Iterable, Sequence

from microservice.mqtt.texts import check_topic

REMEMBERED = 1000  # topics; a service may use any number


class TopicRights:
    """The filters, and the verdicts on the last topics."""

    def __init__(self, filters: Iterable[str]) -> None:
        self._filters = tuple(each.split("/") for each in filters)
        self._verdicts: dict[str, bool] = {}

    def allow(self, topic: str) -> bool:
        """Return whether a topic matches one of the filters; PublishError when it is none."""
        verdict = self._verdicts.get(topic)
        if verdict is None:
            check_topic(topic)
            if len(self._verdicts) >= REMEMBERED:
                self._verdicts.clear()
            verdict = self._verdicts[topic] = self._match(topic)
        return verdict

    def _match(self, topic: str) -> bool:
        levels = topic.split("/")
        return any(_is_match(wanted, levels) for wanted in self._filters)


def _is_match(wanted: Sequence[str], levels: Sequence[str]) -> bool:
    if levels[0].startswith("$") and wanted[0] != levels[0]:  # [MQTT-4.7.2-1]
        return False
    for place, level in enumerate(wanted):
        if level == "#":
            return True
        if place == len(levels) or level not in ("+", levels[place]):
            return False
    return len(wanted) == len(levels)
