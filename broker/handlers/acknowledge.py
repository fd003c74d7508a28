"""Handles PUBACK, PUBREC and PUBCOMP, and sends what they make room for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.messages.retained_backlog import BACKLOG_STEP_BYTES
from broker.sessions.client import Client, ConnectionState
from broker.wire.packets import PubAck, PubComp, PubRec, PubRel
from broker.wire.reasons import Reason

if TYPE_CHECKING:
    from broker.handlers.replies import Replies
    from broker.messages.retained import RetainedStore
    from broker.quota.counters import BrokerCounters
    from broker.routing.loop_time import LoopTime
    from broker.routing.scheduler import Scheduler
    from broker.sessions.outbound import Outbound
    from broker.sessions.persistence import Persistence
    from broker.sessions.session import Session

TURN_RETAINED_BYTES = 320  # of retained messages cost one unit of a turn: a step takes 1 ms


class AckHandler:
    """Takes the acknowledgements of messages that a client was sent."""

    def __init__(  # noqa: PLR0913  # parts are passed, not fetched
        self,
        replies: Replies,
        retained: RetainedStore,
        persistence: Persistence,
        scheduler: Scheduler,
        counters: BrokerCounters,
        touched: dict[Outbound, None],
        time: LoopTime,
    ) -> None:
        self._replies = replies
        self._retained = retained
        self._persistence = persistence
        self._scheduler = scheduler
        self._counters = counters
        self._touched = touched
        self._time = time

    def send_waiting(self, client: Client) -> None:
        """Send waiting messages now that there may be room for them."""
        session = client.session
        if session is not None and (session.inflight.is_paused or session.retained_backlog):
            self.pump(client, session)

    def pump(self, client: Client, session: Session) -> None:
        """Send waiting and retained messages, as far as window and turn allow."""
        looked_at = session.pump(self._retained, self._time.now)
        self._scheduler.spend(looked_at // TURN_RETAINED_BYTES)
        self._persistence.flush()
        if looked_at >= BACKLOG_STEP_BYTES:
            self._scheduler.wait(client)
        if client.out:
            self._touched[client] = None

    def handle_puback(self, client: Client, packet: PubAck) -> None:
        """Take a PUBACK."""
        assert client.session is not None  # it is online
        packet_id = packet.packet_id.to_bytes(2, "big")
        if client.session.inflight.acknowledge((packet_id,)):  # [MQTT-4.4.0-2]
            self._counters.refuse("unknown_packet_id")
        self.send_waiting(client)

    def handle_pubrec(self, client: Client, packet: PubRec) -> None:
        """Take a PUBREC."""
        session = client.session
        assert session is not None  # it is online
        packet_id = packet.packet_id.to_bytes(2, "big")
        if packet.reason >= Reason.UNSPECIFIED_ERROR:
            if session.inflight.finish(packet_id, released=False):  # [MQTT-4.4.0-2] [MQTT-4.8.2-6]
                self._counters.drop("refused_by_receiver")
            self.send_waiting(client)
        elif (release := session.inflight.release(packet_id)) is not None:
            if session.recorder is None:
                self._send_release(client, release)
            else:
                session.recorder.released(
                    packet_id, lambda ok: self._send_release(client, release, ok=ok)
                )
        else:
            self._counters.refuse("unknown_packet_id")
            self._replies.send(client, PubRel(packet.packet_id, Reason.PACKET_ID_NOT_FOUND))

    def handle_pubcomp(self, client: Client, packet: PubComp) -> None:
        """Take a PUBCOMP."""
        session = client.session
        assert session is not None  # it is online
        if not session.inflight.finish(packet.packet_id.to_bytes(2, "big"), released=True):
            self._counters.refuse("unknown_packet_id")
        self.send_waiting(client)

    def _send_release(self, client: Client, release: bytes, *, ok: bool = True) -> None:
        if ok and client.state is ConnectionState.ONLINE:
            client.out.append(release)  # [MQTT-4.3.3-4] [MQTT-2.2.1-5]
            self._counters.send_control(1, len(release))
            self._persistence.touch(client)
