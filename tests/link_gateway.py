"""Builds the parts of a gateway that devices without IP reach: broker, admission, links."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from broker import Broker, Limits
from gateway.app_devices import build_admission, build_logins, load_devices
from gateway.devices.admission import DeviceAdmission
from gateway.devices.credentials import digest_of
from gateway.devices.record import DeviceRecord
from gateway.devices.settings import DevicesSettings
from gateway.links.links import Links
from gateway.mqtt.access import Access, AccessPorts
from gateway.storage.gateway_file import gateway_database
from settings.secret import Secret
from tests.chunk_peer import MemoryPort

DEVICE, TOKEN = "dev-0123456789ab", b"the token of a device"
OTHER, OTHER_TOKEN = "dev-ffffffffffff", b"the token of another"


@dataclass(frozen=True)
class LinkGateway:
    """The parts, running."""

    broker: Broker
    admission: DeviceAdmission
    links: Links
    tasks: set[asyncio.Task[str]]

    def plug(self, port: MemoryPort) -> asyncio.Task[str]:
        """Serve a port."""
        task = asyncio.create_task(self.links.serve(port))
        self.tasks.add(task)
        return task


@asynccontextmanager
async def link_gateway(state: Path, limits: Limits | None = None) -> AsyncIterator[LinkGateway]:
    """Run the parts with two devices that have joined."""
    database = gateway_database(state)
    await database.open()
    base = await load_devices(DevicesSettings(), database, state)
    for device_id, token in ((DEVICE, TOKEN), (OTHER, OTHER_TOKEN)):
        base.tables.registry.add(DeviceRecord(device_id, "lamp", "sim", digest_of(token), 1.0))
    access = Access(
        base.tables.registry,
        Secret("k" * 32),
        AccessPorts(lambda *_: None, build_logins(base, frozenset()), base.rights),
        loopback_anonymous=True,
    )
    broker = Broker((), access, access, limits, sys_interval_s=0)
    admission = build_admission(base, broker)
    admission.attach()
    gateway = LinkGateway(broker, admission, Links(base.tables, 0, broker), set())
    await broker.start()
    try:
        yield gateway
    finally:
        for task in gateway.tasks:
            task.cancel()
        await asyncio.gather(*gateway.tasks, return_exceptions=True)
        await broker.stop()
        await database.close()
