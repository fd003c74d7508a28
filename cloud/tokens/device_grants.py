"""Lets a node without a keyboard join an account: RFC 8628, device authorisation.

The node shows a code. A person types the code where they are signed in. The node polls meanwhile
and gets an access token of that person's account, bound to the node.
"""

import logging
import time
from collections import deque
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Protocol

from cloud.errors import ProblemError
from cloud.storage.ports import DeviceGrantStore, NodeStore
from cloud.storage.records import DeviceGrant
from cloud.tokens.access import grant_scopes
from cloud.tokens.assertion import EdgeIdentity
from cloud.tokens.device_code import (
    GRANT_LIMIT,
    INTERVAL_S,
    LIFE_S,
    OFFERED,
    digest_of,
    new_device_code,
    new_user_code,
    normalise,
    show,
)
from cloud.tokens.issuer import AccessToken, Issuer

logger = logging.getLogger(__name__)

WRONG_CODES = 10  # the limit for one account within LIFE_S
ACCOUNTS_REMEMBERED = 1000
HASTE_S = 0.5  # a node whose clock runs a little fast need not slow down


class GrantsAndNodes(DeviceGrantStore, NodeStore, Protocol):
    """The part of the store that device authorisation uses."""


class DeviceGrants:
    """Issues codes, records the decisions of persons, and issues tokens to the nodes."""

    def __init__(
        self,
        store: GrantsAndNodes,
        issuer: Issuer,
        public_url: str,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._issuer, self._monotonic = store, issuer, monotonic
        self.verification_uri = f"{public_url}/mid/v1/device"
        self._polled: dict[str, float] = {}  # time of the last poll, by digest
        self._wrong: dict[str, deque[float]] = {}  # times of wrong codes, by account

    async def begin(self, node: EdgeIdentity, scope: str, now: float) -> dict[str, Any]:
        """Return a new pair of codes for a node; its earlier pair is no longer valid.

        Raises:
            ProblemError: the node is not registered, or too many wait.
        """
        record = await self._store.node(node.node_id)
        if record is None:
            raise _refused("invalid_client", "the node is not registered")
        if record.account_id:
            raise _refused(
                "invalid_request",
                "the node is a member of an account; leave it with `hecate account leave` first",
            )
        device_code = new_device_code()
        granted = grant_scopes(scope, OFFERED)
        grant = DeviceGrant(
            digest_of(device_code), new_user_code(), node.node_id, record.name, granted,
            now + LIFE_S,
        )  # fmt: skip
        if not await self._store.add_grant(grant, now, GRANT_LIMIT):
            raise ProblemError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "cannot give code: too many nodes wait for their owners; try again in a while",
                {"Retry-After": "60"},
                error="temporarily_unavailable",
            )
        logger.info("node %s asks for an account", node.node_id[:12])
        shown = show(grant.user_code)
        return {
            "device_code": device_code,
            "user_code": shown,
            "verification_uri": self.verification_uri,
            "verification_uri_complete": f"{self.verification_uri}?user_code={shown}",
            "expires_in": int(LIFE_S),
            "interval": int(INTERVAL_S),
        }

    async def take(self, device_code: str, now: float) -> AccessToken:
        """Return the token that a person allowed, once.

        Raises:
            ProblemError: no person has decided yet, or one refused, or the code has expired
                (RFC 8628, 3.5).
        """
        digest = digest_of(device_code)
        grant = await self._store.take_grant(digest, now)
        if grant is None:
            raise _refused("invalid_grant", "the code is not known, or has been used")
        if grant.expires_at <= now:
            raise _refused("expired_token", "no person typed the code in time; ask for another")
        if grant.denied:
            raise _refused("access_denied", "the owner of the account refused")
        if not grant.account_id:
            raise _refused(self._pace_error(digest), "no person has typed the code yet")
        logger.info("node %s may join account %s", grant.node_id[:12], grant.account_id)
        return self._issuer.for_account(grant.account_id, grant.scope, "", grant.node_id, now)

    async def decide(
        self, user_code: str, account_id: str, now: float, *, allow: bool
    ) -> DeviceGrant:
        """Record the decision of a person who typed a code; return the grant.

        Raises:
            ProblemError: there is no such code, or the account has typed too many wrong ones.
        """
        wrong = self._wrong_of(account_id)
        if len(wrong) >= WRONG_CODES:
            raise ProblemError(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"cannot accept code: {WRONG_CODES} were wrong; wait {LIFE_S / 60:.0f} minutes",
                {"Retry-After": str(int(LIFE_S))},
            )
        # Counted before the store answers: a burst of wrong codes may not pass the limit.
        typed_at = self._monotonic()
        wrong.append(typed_at)
        grant = await self._store.decide_grant(normalise(user_code), account_id, now, allow=allow)
        if grant is None:
            raise ProblemError(
                HTTPStatus.NOT_FOUND,
                "cannot accept code: no node waits with this one; it may have expired, "
                "have the node show another",
            )
        wrong.remove(typed_at)
        return grant

    def _pace_error(self, digest: str) -> str:
        """Return the error for a node that polls early, by how fast it polls."""
        now = self._monotonic()
        last = self._polled.pop(digest, float("-inf"))
        if len(self._polled) >= GRANT_LIMIT:
            del self._polled[next(iter(self._polled))]
        self._polled[digest] = now
        return "authorization_pending" if now - last >= INTERVAL_S - HASTE_S else "slow_down"

    def _wrong_of(self, account_id: str) -> deque[float]:
        wrong = self._wrong.pop(account_id, None) or deque(maxlen=WRONG_CODES)
        if len(self._wrong) >= ACCOUNTS_REMEMBERED:
            del self._wrong[next(iter(self._wrong))]
        self._wrong[account_id] = wrong
        while wrong and self._monotonic() - wrong[0] > LIFE_S:
            wrong.popleft()
        return wrong


def _refused(error: str, why: str) -> ProblemError:
    return ProblemError(HTTPStatus.BAD_REQUEST, f"cannot give token: {why}", error=error)
