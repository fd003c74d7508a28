"""The states of a connection and of a session stand in tables; other events raise."""

from itertools import product
from typing import cast

import pytest

from broker.policy import Identity
from broker.sessions import lifecycle
from broker.sessions.client import (
    CONNECTION_TRANSITIONS,
    Client,
    ClientTransport,
    ConnectionEvent,
    ConnectionState,
)
from broker.sessions.lifecycle import (
    SESSION_TRANSITIONS,
    SessionEvent,
    SessionLifecycle,
    SessionState,
)
from broker.wire.errors import LocalProtocolError


@pytest.mark.parametrize(("state", "event"), list(product(ConnectionState, ConnectionEvent)))
def test_a_connection_follows_its_table(state: ConnectionState, event: ConnectionEvent) -> None:
    client = Client(cast("ClientTransport", None), "tcp", "10.0.0.1", 1_000)
    client.state = state
    following = CONNECTION_TRANSITIONS.get((state, event))
    if following is None:
        with pytest.raises(LocalProtocolError, match=f"{state.name}: {event.name}"):
            client._change(event)
        assert client.state is state
    else:
        client._change(event)
        assert client.state is following


@pytest.mark.parametrize(("state", "event"), list(product(SessionState, SessionEvent)))
def test_a_session_follows_its_table(state: SessionState, event: SessionEvent) -> None:
    session = SessionLifecycle("c", Identity("anna", "c"))
    session.state = state
    following = SESSION_TRANSITIONS.get((state, event))
    if following is None:
        with pytest.raises(LocalProtocolError, match=f"{state.name}: {event.name}"):
            session._change(event)
        assert session.state is state
    else:
        session._change(event)
        assert session.state is following


def test_nothing_follows_the_end() -> None:
    assert not [each for each in CONNECTION_TRANSITIONS if each[0] is ConnectionState.CLOSED]
    ended = {each: to for each, to in SESSION_TRANSITIONS.items() if each[0] is lifecycle.ENDED}
    assert set(ended.values()) == {lifecycle.ENDED}
