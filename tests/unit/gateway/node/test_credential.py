"""The 30 days of a credential, by a clock that the test sets."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from joserfc.jwk import ECKey, KeySet

from gateway.errors import UplinkLost
from gateway.node.account import Account
from gateway.node.credential import DAY_S, NO_CREDENTIAL, CredentialKeeper
from gateway.node.warnings import NodeWarnings, describe_clock
from gateway.storage.gateway_file import gateway_database
from gateway.storage.settings import SettingsStore
from protocol.cluster_credentials import sign_credential

NODE, ACCOUNT = "ab" * 28, "acc-0123456789abcdef"
BEGIN = 1_790_000_000.0
SIGNING = ECKey.generate_key("P-256")


class World:
    """A keeper, its clock, and a cloud that may be away."""

    def __init__(self, settings: SettingsStore, account: Account) -> None:
        self.now, self.is_away = BEGIN, False
        self.account = account
        keys = KeySet([SIGNING])
        self.keeper = CredentialKeeper(NODE, account, settings, lambda: keys, lambda: self.now)
        self.warnings = NodeWarnings({"credential": self.keeper.warning}, lambda: self.now)

    async def fetch(self) -> str:
        if self.is_away:
            raise UplinkLost("cannot get credential: away")
        return sign_credential(NODE, ACCOUNT, SIGNING, self.now)

    async def day(self, number: float) -> str:
        self.now = BEGIN + number * DAY_S
        await self.keeper.renew(self.fetch)
        return self.keeper.warning()


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    database = gateway_database(folder)
    await database.open()
    try:
        settings = SettingsStore(database)
        account = Account(settings)
        await account.become(ACCOUNT)
        yield World(settings, account)
    finally:
        await database.close()


def test_it_is_renewed_each_day_while_the_cloud_is_there(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            assert here.keeper.warning() == NO_CREDENTIAL
            assert await here.day(0) == ""
            first = here.keeper.text
            assert await here.day(0.9) == ""
            assert here.keeper.text == first
            for number in range(1, 100):
                assert await here.day(number + 0.1) == ""
            assert here.keeper.text != first

    asyncio.run(run())


def test_without_the_cloud_it_warns_from_day_23_on_ends_and_recovers(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            await here.day(0)
            here.is_away = True
            for number in range(1, 23):
                assert await here.day(number) == ""
            assert "ends in 6 days, on" in await here.day(23.01)
            assert "ends in 1 day, on" in await here.day(28.5)
            assert "ends today, on" in await here.day(29.5)
            assert "has ended on" in await here.day(30.01)
            assert "its devices and microservices go on" in await here.day(45)
            here.is_away = False
            assert await here.day(45.001) == ""

    asyncio.run(run())


def test_the_log_tells_once_a_day(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            await here.day(0)
            here.is_away = True
            for minute in range(0, 32 * 24 * 60, 20):
                here.now = BEGIN + minute * 60.0
                here.warnings.log_due()

    with caplog.at_level(logging.WARNING):
        asyncio.run(run())
    lines = [r.getMessage() for r in caplog.records if "credential" in r.getMessage()]
    assert len(lines) == 32 - 23
    assert "in 7 days" in lines[0] or "in 6 days" in lines[0]
    assert sum("has ended" in line for line in lines) == 2


def test_a_node_without_an_account_has_nothing_to_warn_of(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            await here.account.become("")
            assert here.keeper.warning() == ""

    asyncio.run(run())


# case N8
def test_a_clock_that_is_not_set_is_told_and_counts_at_least_as_the_credentials(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            await here.day(0)
            here.now = 3600.0
            assert here.keeper.now() >= BEGIN - 1
            assert here.keeper.warning() == ""
            text = describe_clock(lambda: here.now)
            assert "not set" in text
            assert "1970-01-01" in text
            here.now = BEGIN
            assert describe_clock(lambda: here.now) == ""

    asyncio.run(run())


def test_a_new_credential_that_cannot_be_checked_does_not_replace_a_valid_one(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        async with world(tmp_path) as one:
            await one.day(0)
            kept = one.keeper.text
            for text in (
                sign_credential(NODE, ACCOUNT, ECKey.generate_key("P-256"), one.now),  # rotated
                sign_credential(NODE, "acc-of-others", SIGNING, one.now),
                sign_credential("cd" * 28, ACCOUNT, SIGNING, one.now),
                "<html>",
                "",
            ):
                one.now += 2 * DAY_S

                async def fetch(text: str = text) -> str:
                    return text

                assert not await one.keeper.renew(fetch)
                assert one.keeper.text == kept
            assert await one.keeper.renew(one.fetch)
            assert one.keeper.text != kept

    asyncio.run(run())
