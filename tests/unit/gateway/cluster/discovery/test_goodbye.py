"""Goodbyes withdraw the former addresses of a node, and none that it has."""

import asyncio
from ipaddress import ip_address
from typing import cast

import pytest
from zeroconf import (  # type: ignore[attr-defined]  # public, but not in __all__
    DNSAddress,
    DNSIncoming,
    DNSOutgoing,
    Zeroconf,
)
from zeroconf.asyncio import AsyncServiceInfo

from gateway.cluster.discovery import goodbye as module
from gateway.cluster.discovery.goodbye import TIMES, AddressGoodbyes
from gateway.cluster.discovery.txt import SERVICE_TYPE
from tests.aio import until


class SentPackets:
    """Stands in for the library: keeps the packets that would be sent."""

    def __init__(self) -> None:
        self.packets: list[bytes] = []

    def async_send(self, out: DNSOutgoing) -> None:
        self.packets += out.packets()

    def answers(self) -> list[set[tuple[str, bool]]]:
        """Return of each packet the addresses, and whether they live on."""
        return [
            {
                (str(ip_address(each.address)), each.ttl > 0)
                for each in DNSIncoming(packet).answers()
                if isinstance(each, DNSAddress)
            }
            for packet in self.packets
        ]


def record(*addresses: str) -> AsyncServiceInfo:
    packed = [ip_address(each).packed for each in addresses]
    return AsyncServiceInfo(SERVICE_TYPE, f"n.{SERVICE_TYPE}", addresses=packed, server="n.local.")


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_S", 0.0)


# case N1
def test_former_addresses_are_withdrawn_beside_those_that_stay() -> None:
    sent = SentPackets()

    async def run() -> None:
        goodbyes = AddressGoodbyes()
        goodbyes.moved(cast("Zeroconf", sent), record("10.0.0.1", "fe80::1"), record("10.0.0.7"))
        await until(lambda: len(sent.packets) == TIMES, "all goodbyes")

    asyncio.run(run())
    gone = {("10.0.0.7", True), ("10.0.0.1", False), ("fe80::1", False)}
    assert sent.answers() == [gone] * TIMES


def test_an_address_that_comes_back_is_not_withdrawn() -> None:
    sent = SentPackets()

    async def run() -> None:
        goodbyes, library = AddressGoodbyes(), cast("Zeroconf", sent)
        goodbyes.moved(library, record("10.0.0.1", "10.0.0.2"), record("10.0.0.7"))
        goodbyes.moved(library, record("10.0.0.7"), record("10.0.0.1"))
        await until(lambda: len(sent.packets) == TIMES, "all goodbyes")
        goodbyes.moved(library, record("10.0.0.1"), record("10.0.0.1", "10.0.0.3"))
        await asyncio.sleep(0)
        goodbyes.stop()

    asyncio.run(run())
    gone = {("10.0.0.1", True), ("10.0.0.2", False), ("10.0.0.7", False)}
    assert sent.answers() == [gone] * TIMES
