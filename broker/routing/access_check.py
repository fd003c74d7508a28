"""Asks the authorizer what an identity may publish, subscribe to and read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.messages.topics import SHARED, SYS, SYS_ROOT, strip_share
from broker.policy import Authorizer, FinerAuthorizer, Identity, IdentityDirectory

if TYPE_CHECKING:
    from broker.sessions.session import Session


class AccessCheck:
    """Adds the broker's own rules to the answers of an authorizer."""

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer
        self._finer = authorizer if isinstance(authorizer, FinerAuthorizer) else None
        self._directory = authorizer if isinstance(authorizer, IdentityDirectory) else None

    def may_subscribe(self, identity: Identity, topic_filter: str) -> bool:
        """Return whether an identity may subscribe.

        A filter of which a group may read only a part cannot be shared.
        """
        wanted = strip_share(topic_filter)
        if not self._authorizer.may_subscribe(identity, wanted):
            return False
        is_shared = topic_filter.startswith(SHARED)
        return not is_shared or self._finer is None or self._finer.may_read_all(identity, wanted)

    def may_publish(self, identity: Identity, topic: str) -> bool:
        """Return whether an identity may publish; only the broker publishes to $SYS."""
        if topic.startswith(SYS) or topic == SYS_ROOT:
            return False
        return self._authorizer.may_publish(identity, topic)

    def knows(self, identity: Identity) -> bool | None:
        """Return whether an identity still exists; None when only its next login shows that."""
        return True if self._directory is None else self._directory.knows(identity)

    def restrict(self, session: Session) -> None:
        """Hide from a session the topics below its subscriptions that its owner may not read."""
        session.restrict(None)
        for topic_filter in session.subscriptions:
            self.restrict_filter(session, topic_filter)

    def restrict_filter(self, session: Session, topic_filter: str) -> None:
        """Hide the topics below one subscription that the owner may not read."""
        finer = self._finer
        if finer is not None and not finer.may_read_all(session.owner, topic_filter):
            session.restrict(lambda topic: finer.may_read(session.owner, topic))
