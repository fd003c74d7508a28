"""Represents the rights of an access token: scopes and subject."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from cloud.errors import ProblemError
from protocol.errors import TokenError
from protocol.ids import ACCOUNT_ID, NODE_ID

AUDIENCE = "hecate"

NODE = "hec:node"
DATA = "hec:data"
CLUSTERS = "edge:clusters"
READ_ACCOUNT_KEY = "edge:read:accountkey"
ASSOCIATE = "edge:account:associate"
UNASSOCIATE = "edge:account:unassociate"  # at the gateway
MCM = "edge:mcm"
UPDATE_GPS = "edge:gps:update"  # at the gateway

# The scopes that mST grants to nodes and mID to persons, in the order of the answer.
NODE_SCOPES = (NODE, CLUSTERS, READ_ACCOUNT_KEY)
ACCOUNT_SCOPES = (MCM, CLUSTERS, ASSOCIATE, UNASSOCIATE, READ_ACCOUNT_KEY, UPDATE_GPS, DATA)


@dataclass(frozen=True, slots=True)
class CloudCaller:
    """The subject of a valid access token: a node, or an account (perhaps bound to a node)."""

    subject: str
    scopes: frozenset[str]
    node_id: str = ""
    expires_at: float | None = None  # the token's end; None for a token without one

    @property
    def is_node(self) -> bool:
        """True when the caller is a node itself."""
        return self.node_id == self.subject

    def require(self, scope: str) -> None:
        """Return if the token has a scope; ProblemError if not."""
        if scope not in self.scopes:
            raise ProblemError(
                HTTPStatus.FORBIDDEN,
                f"cannot allow this: the access token lacks scope {scope}",
                {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'},
            )

    def require_node(self, node_id: str) -> None:
        """Return if the caller is that node; ProblemError if not."""
        if not self.is_node or self.node_id != node_id:
            raise ProblemError(
                HTTPStatus.FORBIDDEN, f"cannot allow this: needs the access token of node {node_id}"
            )


def caller_from(claims: Mapping[str, Any]) -> CloudCaller:
    """Return the caller that the claims of a verified access token describe."""
    subject, node_id = claims.get("sub"), claims.get("node_id", "")
    scope = claims.get("scope", "")
    if not (isinstance(subject, str) and isinstance(node_id, str) and isinstance(scope, str)):
        raise TokenError("cannot accept token: claims malformed")
    if node_id and not NODE_ID.fullmatch(node_id):
        raise TokenError("cannot accept token: node_id malformed")
    if not ACCOUNT_ID.fullmatch(subject):  # a node id fits, too
        raise TokenError("cannot accept token: sub malformed")
    expires = claims.get("exp")
    ends = float(expires) if isinstance(expires, int | float) else None
    return CloudCaller(subject, frozenset(scope.split()), node_id, ends)


def grant_scopes(asked: str, offered: Iterable[str]) -> str:
    """Return the scopes to put into a token: all that are offered, or those asked for.

    Unknown scopes and openid are omitted.

    Raises:
        ProblemError: something was asked for and nothing of it can be given.
    """
    wanted = set(asked.split()) - {"openid"}
    granted = [scope for scope in offered if not wanted or scope in wanted]
    if not granted:
        raise ProblemError(
            HTTPStatus.BAD_REQUEST,
            f"cannot grant scope: this token endpoint offers {' '.join(offered)}",
            error="invalid_scope",
        )
    return " ".join(granted)
