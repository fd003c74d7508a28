"""What mSS knows of a BEP, and the rules for making one."""

from dataclasses import dataclass
from http import HTTPStatus

from cloud.config import SignallingSettings
from cloud.errors import ProblemError


@dataclass(frozen=True, slots=True)
class RelayAddress:
    """Where nodes and visitors reach a relay."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Bep:
    """One tunnel to one node, until it expires or is revoked."""

    bep_id: str
    node_id: str
    relay: RelayAddress
    expires_at: float
    run: str = ""  # of its node's process; "" of a node that names none


def choose_ttl(asked_s: float | None, settings: SignallingSettings) -> float:
    """Return how long a BEP shall live; ProblemError when more is asked than is allowed."""
    if asked_s is None:
        return settings.bep_ttl_s
    if not 1 <= asked_s <= settings.bep_ttl_limit_s:
        raise ProblemError(
            HTTPStatus.BAD_REQUEST,
            f"cannot make BEP: ttl_s must be from 1 to {settings.bep_ttl_limit_s:.0f}",
        )
    return asked_s
