"""Checks conditions of a broker's core that hold whatever its clients do."""

from broker.sessions.client import ConnectionState
from broker.sessions.inbound_qos2 import ID_BYTES
from broker.sessions.session import Session
from tests.unit.broker.rig import Rig


def check_accounts(rig: Rig) -> None:
    """Compare what is counted with what there is."""
    core = rig.core
    counters, limits = core.counters, core._limits
    sessions = tuple(core._registry)
    for session in sessions:
        _check_session(session)
    assert counters.queued_bytes == sum(_queued(each) for each in sessions)
    assert counters.queued_bytes <= limits.queued_bytes_total + limits.packet_bytes
    assert counters.subscriptions == sum(len(each.subscriptions) for each in sessions)
    retained = core._retained.store
    assert counters.retained == len(retained) <= limits.retained_messages
    assert retained.size_bytes == sum(each.size_bytes for each in retained._messages.values())
    assert retained.size_bytes <= limits.retained_bytes
    assert (core._subscriptions.size_bytes == 0) == (counters.subscriptions == 0)
    online = [each for each in core._clients if each.state is ConnectionState.ONLINE]
    assert {each.session for each in online} == {each for each in sessions if each.client}
    for client in core._clients:
        assert len(client.routes) <= limits.routes
        assert (client.session is not None) == (client.state is ConnectionState.ONLINE)
        if client.session is not None:
            assert client.session.client is client
    away = [each for each in sessions if each.client is None]
    assert all(each.expires_at is not None for each in away), "kept for ever"
    assert len(away) <= limits.stored_sessions + len(core._clients) + limits.connections


def _queued(session: Session) -> int:
    ids = len(session._received.ids) if session._received is not None else 0
    waiting = sum(each.message.size_bytes for each in session._queue.messages)
    return waiting + sum(map(len, session.inflight.packets.values())) + ID_BYTES * ids


def _check_session(session: Session) -> None:
    limits = session._limits
    assert len(session.subscriptions) <= limits.subscriptions
    assert len(session._queue.messages) <= limits.queued_messages
    assert len(session.inflight.packets) <= limits.in_flight
    if session._received is not None:
        assert len(session._received.ids) <= limits.unreleased
        assert session._received.unreleased <= session._received.ids
    # rule 1 of session.py: what waits is not overtaken
    assert session.inflight.is_paused or not session._queue.messages
