"""Sends retained messages to a session, a step at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.messages.retained_backlog import (
    BACKLOG_STEP_BYTES,
    BACKLOG_STEP_MESSAGE_BYTES,
    BACKLOG_STEP_NODE_BYTES,
)

if TYPE_CHECKING:
    from broker.messages.retained import RetainedStore
    from broker.sessions.outbound import Outbound
    from broker.sessions.session import Session


def send_retained(session: Session, client: Outbound, retained: RetainedStore, now: float) -> int:
    """Send the next retained messages; return the cost of the search, in bytes."""
    size = 0
    while size < BACKLOG_STEP_BYTES:
        walk = session.retained_backlog.find_walk(retained)
        if walk is None:
            break
        subscription, messages = walk
        if subscription.qos and session.inflight.free_slots <= 0:
            break
        size += BACKLOG_STEP_NODE_BYTES
        try:
            message = next(messages)  # the newest of its topic
        except StopIteration:
            session.retained_backlog.finish_walk()
            if session.recorder is not None:
                session.recorder.caught_up(subscription.topic_filter)
            continue
        if message is not None:
            message = retained.get(message.topic) if session.reads(message.topic) else None
        if message is not None and not message.is_expired(now):
            size += BACKLOG_STEP_MESSAGE_BYTES + len(message.topic) + len(message.payload)
            session.send_retained(client, message, subscription, now)
    return size
