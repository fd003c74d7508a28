"""Tests decisions of the owner while the disk takes nothing or a join is under way."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from broker import AllowAll, Broker, Message
from gateway.devices.admission import AdmissionRules, DeviceAdmission
from gateway.devices.credentials import digest_of
from gateway.devices.joining.requests import JoinRequest
from gateway.devices.record import DeviceCertificate, DeviceRecord
from gateway.devices.rotation import RotationRule
from gateway.devices.store import DeviceStore
from gateway.devices.tables import DeviceTables, load_tables
from gateway.errors import GatewayError
from gateway.storage.database import LocalDatabase
from gateway.storage.gateway_file import gateway_database
from tests.aio import until
from tests.programs import PATIENCE

DEVICE, TOKEN = "dev-0123456789ab", b"a token"
BOARD, SECRET = "board-9", "digest-of-a-secret"


@dataclass
class SlowIssuer:
    """An issuer of certificates that waits for the test."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    may_go_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def issue(
        self, device_id: str, _request: JoinRequest
    ) -> tuple[DeviceCertificate, Mapping[str, str]]:
        self.asked.set()
        await self.may_go_on.wait()
        return DeviceCertificate(device_id, b"", 0.0), {}

    async def renew(
        self, _device_id: str, old: DeviceCertificate
    ) -> tuple[DeviceCertificate, Mapping[str, str]]:
        return old, {}


@dataclass
class Site:
    """An admission with one device, and its disk."""

    database: LocalDatabase
    store: DeviceStore
    tables: DeviceTables
    broker: Broker
    admission: DeviceAdmission
    issuer: SlowIssuer

    @property
    def device(self) -> DeviceRecord:
        device = self.tables.registry.get(DEVICE)
        assert device is not None
        return device

    async def take_writes(self, *, on: bool) -> None:
        """Let the disk take writes, or none."""
        connection = self.database._opened()
        await self.database._thread.run(connection.execute, f"PRAGMA query_only = {int(not on)}")

    async def after_a_restart(self) -> DeviceTables:
        """Return what a gateway that starts now would know."""
        return await load_tables(self.store)

    async def approve_again(self) -> None:
        """Approve the board that the device was before, which is not connected."""
        self.tables.pending.ask(SECRET, BOARD, "10.0.0.9", 1.0)
        board = self.tables.pending.describe(SECRET, "lamp", "sim")
        assert board is not None
        approved = await self.admission.approve(board)
        assert approved.device_id == DEVICE


@asynccontextmanager
async def site_at(state: Path) -> AsyncIterator[Site]:
    database = gateway_database(state)
    await database.open()
    store = DeviceStore(database)
    await store.save_join(
        DeviceRecord(DEVICE, "lamp", "sim", digest_of(TOKEN), 1.0, client_id=BOARD, confirmed=True)
    )
    tables, issuer = await load_tables(store), SlowIssuer()
    broker = Broker((), AllowAll(), AllowAll(), sys_interval_s=0)
    rules = AdmissionRules(RotationRule(0), issuer)
    admission = DeviceAdmission(store, tables, broker, rules, lambda: 1.0)
    admission.attach()
    await broker.start()
    try:
        yield Site(database, store, tables, broker, admission, issuer)
    finally:
        await broker.stop()
        await database.close()


def run(state: Path, work: Callable[[Site], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(20 * PATIENCE), site_at(state) as site:
            await work(site)

    asyncio.run(main())


def test_a_device_that_the_disk_does_not_forget_stays_revoked_and_is_forgotten_later(
    tmp_path: Path,
) -> None:
    async def work(site: Site) -> None:
        await site.take_writes(on=False)
        with pytest.raises(GatewayError, match="cannot write"):
            await site.admission.forget(DEVICE)
        assert site.tables.registry.authenticate(DEVICE, TOKEN) is None
        await site.take_writes(on=True)
        assert await site.admission.forget(DEVICE)
        assert site.tables.registry.get(DEVICE) is None
        assert (await site.after_a_restart()).registry.get(DEVICE) is None

    run(tmp_path, work)


def test_claims_that_the_disk_did_not_delete_are_deleted_later(tmp_path: Path) -> None:
    async def work(site: Site) -> None:
        made = await site.admission.new_claim(1, 600.0)
        assert made is not None
        await site.take_writes(on=False)
        with pytest.raises(GatewayError, match="cannot write"):
            await site.admission.end_claims()
        assert site.tables.claims.find(made[0].reveal().encode(), 1.0) is None
        await site.take_writes(on=True)
        await site.admission.end_claims()
        known = (await site.after_a_restart()).claims
        assert known.find(made[0].reveal().encode(), 1.0) is None

    run(tmp_path, work)


def test_a_claim_that_could_not_be_stored_does_not_count(tmp_path: Path) -> None:
    async def work(site: Site) -> None:
        full = (
            "CREATE TEMP TRIGGER full BEFORE INSERT ON claims "
            "BEGIN SELECT RAISE(ABORT, 'disk is full'); END"
        )
        await site.database._thread.run(site.database._opened().execute, full)
        with pytest.raises(GatewayError, match="disk is full"):
            await site.admission.new_claim(1, 600.0)
        assert site.tables.claims.take_all() == []

    run(tmp_path, work)


def test_a_change_that_could_not_be_stored_is_taken_back(tmp_path: Path) -> None:
    async def work(site: Site) -> None:
        await site.take_writes(on=False)
        with pytest.raises(GatewayError, match="cannot write"):
            await site.admission.rename(site.device, "fan")
        with pytest.raises(GatewayError, match="cannot write"):
            await site.admission.regroup(site.device, ("kitchen",))
        assert (site.device.name, site.device.groups) == ("lamp", ())

    run(tmp_path, work)


def test_a_login_during_a_change_does_not_undo_it(tmp_path: Path) -> None:
    async def work(site: Site) -> None:
        renaming = asyncio.create_task(site.admission.rename(site.device, "fan"))
        await asyncio.sleep(0)  # it is being stored
        await site.store.save_device(site.device)  # as a login with a new token does
        await renaming
        grouping = asyncio.create_task(site.admission.regroup(site.device, ("kitchen",)))
        await asyncio.sleep(0)
        await site.store.save_device(site.device)
        await grouping
        stored = (await site.after_a_restart()).registry.get(DEVICE)
        assert stored is not None
        assert (stored.name, stored.groups) == ("fan", ("kitchen",))

    run(tmp_path, work)


@pytest.mark.parametrize("decision", ["revoke", "forget"])
def test_a_device_that_is_revoked_while_it_joins_again_stays_out(
    tmp_path: Path, decision: str
) -> None:
    async def work(site: Site) -> None:
        await site.approve_again()
        request = json.dumps({"name": "lamp", "csr": "of the device"}).encode()
        message = Message(f"$hec/join/{BOARD}/request", request, 1, sender=f"join:{SECRET}")
        site.admission._joins._on_join(message)
        await site.issuer.asked.wait()
        deciding = asyncio.create_task(getattr(site.admission, decision)(DEVICE))
        await until(lambda: site.device.is_revoked, "its credentials end at once")
        site.issuer.may_go_on.set()
        assert await deciding
        for tables in (site.tables, await site.after_a_restart()):
            known = tables.registry.get(DEVICE)
            assert known is None or known.is_revoked
            assert tables.pending.get(SECRET) is None

    run(tmp_path, work)


@pytest.mark.parametrize("decision", ["revoke", "forget"])
def test_an_approval_ends_with_its_device(tmp_path: Path, decision: str) -> None:
    async def work(site: Site) -> None:
        await site.approve_again()
        assert await getattr(site.admission, decision)(DEVICE)
        for tables in (site.tables, await site.after_a_restart()):
            assert tables.pending.get(SECRET) is None

    run(tmp_path, work)
