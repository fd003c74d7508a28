"""Runs the sensors of a gateway with its database and its broker, and a clock that tests set."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from broker import AllowAll, Broker, LocalClient, Message
from broker.journal import Journal
from gateway.devices.admission import AdmissionRules, DeviceAdmission
from gateway.devices.record import DeviceRecord
from gateway.devices.rotation import RotationRule
from gateway.devices.store import DeviceStore
from gateway.devices.tables import load_tables
from gateway.sensors.decisions import SensorDecisions
from gateway.sensors.hub import SensorClocks, SensorHub
from gateway.sensors.store import SensorStore
from gateway.storage.database import LocalDatabase
from gateway.storage.gateway_file import gateway_database
from hardware.radio.advertisement import Advertisement
from settings.secret import Secret
from tests.bthome import ADDRESS

WALL_S = 1_800_000_000.0  # the wall clock when the other is 0


class SensorWorld:
    """One life of a gateway's sensors."""

    def __init__(
        self, database: LocalDatabase, admission: DeviceAdmission, local: LocalClient, now: float
    ) -> None:
        self.now = now
        self.database, self.admission, self.local = database, admission, local
        self.messages: list[Message] = []
        local.subscribe("devices/#", self.messages.append)
        self.hub: SensorHub
        self.decisions: SensorDecisions

    async def open(self, broker: Broker, *, can_hear: bool) -> None:
        """Load the sensors."""
        clocks = SensorClocks(lambda: WALL_S + self.now, lambda: self.now)
        store = SensorStore(self.database)
        self.hub = SensorHub(
            store,
            self.admission,
            broker.local_client("sensors"),
            await store.sensors(),
            clocks,
            can_hear=can_hear,
        )
        self.decisions = SensorDecisions(self.hub, store, self.admission.registry)
        self.admission.attach()
        self.admission.announce()
        self.hub.attach()

    async def hear(self, *advertisements: Advertisement) -> None:
        """Hear advertisements, and work on them."""
        for each in advertisements:
            self.hub.hear(each)
        await self.hub.work()

    async def approve(
        self, name: str = "attic", address: str = ADDRESS, key: str = ""
    ) -> DeviceRecord:
        """Accept a sensor."""
        return await self.decisions.approve(address, name, Secret(key) if key else None)

    def said(self, path: str) -> list[Any]:
        """Return the payloads of the topics that end so, and forget them."""
        found = [m.payload for m in self.messages if m.topic.endswith(path)]
        self.messages[:] = [m for m in self.messages if not m.topic.endswith(path)]
        return [json.loads(p) if p[:1] in (b"{", b"[") else p.decode() for p in found]

    def values(self, name: str = "temperature") -> list[Any]:
        """Return the values of a reading since the last call."""
        return [reading["value"] for reading in self.said(f"/readings/{name}")]


@asynccontextmanager
async def sensor_world(
    folder: Path, now: float = 0.0, *, is_cut: bool = False, can_hear: bool = True
) -> AsyncIterator[SensorWorld]:
    """Run the sensors of a state folder; is_cut leaves out what a stop does."""
    database = gateway_database(folder)
    await database.open()
    journal = Journal(folder / "broker", "synced")
    async with Broker([], AllowAll(), AllowAll(), store=journal, sys_interval_s=0) as broker:
        store = DeviceStore(database)
        admission = DeviceAdmission(
            store, await load_tables(store), broker, AdmissionRules(RotationRule(90))
        )
        world = SensorWorld(database, admission, broker.local_client("test"), now)
        await world.open(broker, can_hear=can_hear)
        yield world
        await admission.save()
        if not is_cut:
            await world.hub.stop()
    await database.close()
