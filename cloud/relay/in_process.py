"""Runs the relay of this process, and serves it to signalling as its relay port."""

import contextlib
from collections.abc import AsyncIterator, Iterable

from joserfc.jwk import KeySet

from cloud.config import RelaySettings
from cloud.listeners import cannot_listen
from cloud.relay.errors import RelayError
from cloud.relay.server import Relay
from cloud.storage.records import RelayAddress
from settings.addresses import format_address
from web import ServerCertificate


class InProcessRelay:
    """The adapter of cloud.signalling.ports.RelayPort for a relay in the same process."""

    def __init__(self, relay: Relay, address: RelayAddress, listens_on: str = "") -> None:
        self._relay = relay
        self.address = address
        self.listens_on = listens_on

    async def revoke(self, bep_id: str) -> None:
        """End a BEP at the relay and refuse its token from now on."""
        self._relay.revoke(bep_id)

    async def served(self) -> frozenset[str]:
        """Return the ids of the BEPs that the relay has now."""
        return frozenset(bep.id for bep in self._relay.beps())


@contextlib.asynccontextmanager
async def running_relay(
    settings: RelaySettings,
    certificate: ServerCertificate | None,
    keys: KeySet,
    revoked: Iterable[str],
) -> AsyncIterator[InProcessRelay]:
    """Run a relay while the context lasts; StartError when it cannot listen.

    The relay keeps revoked BEPs in memory only, so that it must be given them at each start: their
    tokens would be accepted again.
    """
    relay = Relay(lambda: keys, tls=certificate.context if certificate else None)
    for bep_id in revoked:
        relay.revoke(bep_id)
    try:
        host, port = await relay.start(settings.host, settings.port)
    except RelayError as exc:
        raise cannot_listen(settings.host, settings.port, exc.__cause__ or exc, "relay") from exc
    try:
        yield InProcessRelay(relay, _public(settings, host, port), format_address(host, port))
    finally:
        await relay.stop()


def _public(settings: RelaySettings, host: str, port: int) -> RelayAddress:
    return RelayAddress(
        settings.public_host or host,
        settings.public_port or port,
        settings.tls_cert is not None,
    )
