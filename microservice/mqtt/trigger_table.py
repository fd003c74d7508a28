"""Finds the triggers of a topic, and the subscriptions that all of them need."""

from collections.abc import Sequence

from microservice.mqtt.wire import FilterOptions
from microservice.template import topic_filter
from microservice.triggers.registry import RETAIN_HANDLING, Trigger

TOPICS = 1000  # the triggers of so many topics are remembered

Found = tuple[tuple[Trigger, dict[str, str]], ...]  # with the named levels of the topic


class TriggerTable:
    """The triggers of one service."""

    def __init__(self, triggers: Sequence[Trigger]) -> None:
        self._triggers = tuple(triggers)
        self._found: dict[str, Found] = {}

    def find(self, topic: str) -> Found:
        """Return the triggers that match a topic, in the order of their registration."""
        found = self._found.get(topic)
        if found is None:
            if len(self._found) >= TOPICS:
                self._found.clear()
            found = self._found[topic] = tuple(self._match(topic.split("/")))
        return found

    def filters(self, *, echo: bool = False) -> dict[str, FilterOptions]:
        """Return the topic filters of all triggers with their options.

        Triggers of one filter share its subscription: the highest QoS, and whatever one wants.
        """
        filters: dict[str, FilterOptions] = {}
        for trigger in self._triggers:
            topic = topic_filter(trigger.template)
            asked = FilterOptions(
                trigger.qos,
                not (echo if trigger.echo is None else trigger.echo),
                RETAIN_HANDLING[trigger.retained],
            )
            other = filters.get(topic, asked)
            filters[topic] = FilterOptions(
                max(asked.qos, other.qos),
                asked.no_local and other.no_local,
                min(asked.retain_handling, other.retain_handling),
            )
        return filters

    def _match(self, levels: Sequence[str]) -> list[tuple[Trigger, dict[str, str]]]:
        found = []
        for trigger in self._triggers:
            named = trigger.template.match(levels)
            if named is not None:
                found.append((trigger, named))
        return found
