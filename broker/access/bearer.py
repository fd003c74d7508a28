"""Authenticates clients by OAUTHBEARER (RFC 7628): a token, which they renew while connected."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace

from broker.policy import Accepted, Challenge, Credentials, Identity, Refusal, Step

METHOD = "OAUTHBEARER"

# GS2 header, then key=value pairs between bytes of value 1; host and port are of no interest here
_PAIRS = rb"(?:(?:host|port)=[^\x01]*\x01)*"
_MESSAGE = re.compile(
    rb"n,(?:a=(?P<user>[^,]+))?,\x01" + _PAIRS +
    rb"auth=[Bb]earer +(?P<token>[\w.~+/=-]+)\x01" + _PAIRS + rb"\x01"
)  # fmt: skip

Identify = Callable[[Credentials], Awaitable[Identity | Refusal | None]]


class BearerExchange:
    """One client that shows a token."""

    def __init__(self, identify: Identify, credentials: Credentials) -> None:
        self._identify = identify
        self._credentials = credentials

    async def step(self, data: bytes | None) -> Step:
        """Handle the client's only message."""
        if not data:
            return Challenge()  # the client may send its message in the first AUTH
        found = _MESSAGE.fullmatch(data)
        if found is None:
            return Refusal.NOT_AUTHORIZED
        outcome = await self._identify(replace(self._credentials, password=found["token"]))
        if not isinstance(outcome, Identity):
            return Refusal.NOT_AUTHORIZED
        if found["user"] is not None and found["user"] != outcome.name.encode():
            return Refusal.NOT_AUTHORIZED
        return Accepted(outcome)
