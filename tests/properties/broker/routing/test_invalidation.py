"""A client's remembered routes are never older than subscriptions and connections."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import example, given, settings
from hypothesis import strategies as st

from broker.wire.packets import MQTT_3_1_1, MQTT_5, Publish, Subscribe, Subscription, Unsubscribe
from broker.wire.property_values import Properties
from tests.unit.broker.rig import Peer, Rig

NAMES = ("a", "b", "c")
TOPICS = ("t", "t/1", "$t")
FILTERS = (*TOPICS, "#", "+/1", "t/+", "$share/g/t/1", "$share/g/#")
KEPT_S = 1_000


@dataclass(frozen=True)
class Come:
    """A client connects; if it is there already it takes over from itself."""

    name: str
    version: int
    is_clean: bool


@dataclass(frozen=True)
class Leave:
    name: str


@dataclass(frozen=True)
class Ask:
    name: str
    topic_filter: str
    qos: int
    no_local: bool


@dataclass(frozen=True)
class Give:
    """It unsubscribes."""

    name: str
    topic_filter: str


@dataclass(frozen=True)
class Say:
    """It publishes twice, so that the second one goes where the first one went."""

    name: str
    topic: str
    qos: int


@dataclass(frozen=True)
class Forbid:
    """A filter may, or may not, be subscribed from now on."""

    topic_filter: str


Step = Come | Leave | Ask | Give | Say | Forbid
names, filters = st.sampled_from(NAMES), st.sampled_from(FILTERS)
asks = st.builds(Ask, names, filters, st.integers(0, 2), st.booleans())
says = st.builds(Say, names, st.sampled_from(TOPICS), st.integers(0, 1))
comings = st.builds(Come, names, st.sampled_from([MQTT_3_1_1, MQTT_5]), st.booleans())
often = [says] * 10 + [asks] * 5 + [st.builds(Give, names, filters)] * 2
seldom = [comings, comings, st.builds(Leave, names), st.builds(Forbid, filters)]
steps = st.lists(
    st.sampled_from([*often, *seldom]).flatmap(lambda each: each), min_size=20, max_size=60
)


class Play:
    """Clients that do as a script says; all that any of them was ever sent is kept."""

    def __init__(self, *, forgets: bool) -> None:
        self._rig = Rig()
        self._forgets = forgets
        self._here: dict[str, Peer] = {}
        self._ever: list[Peer] = []
        for name in NAMES:
            self.take(Come(name, MQTT_5, is_clean=True))

    def run(self, script: list[Step]) -> list[object]:
        for step in script:
            self.take(step)
        return [each.take() for each in self._ever]

    def take(self, step: Step) -> None:
        if isinstance(step, Come):
            self._come(step)
        elif isinstance(step, Forbid):
            self._rig.rules.no_subscribe ^= {step.topic_filter}
            self._rig.core.admin.rights_changed()
        elif (peer := self._here.get(step.name)) is None:
            pass
        elif isinstance(step, Leave):
            self._here.pop(step.name).hang_up()
        elif isinstance(step, Ask):
            shared = step.topic_filter.startswith("$share")
            no_local = step.no_local and peer.version == MQTT_5 and not shared
            asked = Subscription(step.topic_filter, step.qos, no_local)
            peer.send(Subscribe(1, (asked,)))
        elif isinstance(step, Give):
            peer.send(Unsubscribe(2, (step.topic_filter,)))
        else:
            self._say(peer, step)

    def _come(self, step: Come) -> None:
        properties = Properties(session_expiry_s=KEPT_S)
        if step.version == MQTT_5:
            peer = self._rig.online(
                step.name, MQTT_5, clean_start=step.is_clean, properties=properties
            )
        else:
            peer = self._rig.online(step.name, clean_start=step.is_clean)
        self._here[step.name] = peer
        self._ever.append(peer)

    def _say(self, peer: Peer, step: Say) -> None:
        packet = Publish(step.topic, b"x", step.qos, packet_id=3 if step.qos else None)
        if self._forgets:
            peer.client.forget_routes()
        peer.send(packet, packet)


ASKED, SAID = Ask("b", "t", 0, no_local=False), Say("a", "t", 0)
BACK, NEW = Come("b", MQTT_5, is_clean=False), Come("b", MQTT_5, is_clean=True)


@settings(deadline=None, max_examples=300)
@given(steps)
@example([ASKED, SAID, Leave("b"), BACK, SAID])
@example([ASKED, SAID, NEW, ASKED, SAID])  # a session that may get the old one's place in memory
def test_routes_are_never_stale(script: list[Step]) -> None:
    assert Play(forgets=False).run(script) == Play(forgets=True).run(script)
