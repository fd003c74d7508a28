import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from gateway.cloud_api.values import AuthorizationPending, DeviceCodes
from gateway.errors import AccountError, CloudRefused, UplinkLost
from gateway.node import membership as module
from gateway.node.account import Account
from gateway.node.membership import Membership
from gateway.storage.gateway_file import gateway_database
from gateway.storage.settings import SettingsStore
from settings.secret import Secret

Answer = Secret | AuthorizationPending | Exception
PENDING = AuthorizationPending(slow_down=False)


class CloudApi:
    """Answers polls with the answers of a test, then with the last one again and again."""

    def __init__(self, *answers: Answer, lasts_s: float = 60.0) -> None:
        self.answers, self.lasts_s = list(answers), lasts_s
        self.codes = self.polls = 0

    async def authorize_device(self, _edge_id_token: Secret) -> DeviceCodes:
        self.codes += 1
        return DeviceCodes("AB-CD", "u", "u?c", self.lasts_s, 0.0, Secret("device"))

    async def token_for_code(self, _device_code: Secret) -> Secret | AuthorizationPending:
        self.polls += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def leave_account(self) -> None: ...


def with_membership(
    folder: Path, api: CloudApi, body: Callable[[Membership, Account], Awaitable[None]]
) -> None:
    async def run() -> None:
        database = gateway_database(folder)
        await database.open()
        account = Account(SettingsStore(database))

        async def associate(token: Secret) -> str:
            await account.become(token.reveal())
            return account.account_id

        membership = Membership(account, api, associate, lambda: Secret("id"))  # type: ignore[arg-type]
        await body(membership, account)
        await membership.cancel()
        await database.close()

    asyncio.run(run())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  # of a task
            await asyncio.sleep(0.001)


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SLOW_DOWN_S", 0.0)
    monkeypatch.setattr(module, "POLL_AGAIN_S", 0.0)


def test_a_node_joins_when_the_owner_has_entered_the_code(tmp_path: Path) -> None:
    slow = AuthorizationPending(slow_down=True)
    api = CloudApi(PENDING, slow, UplinkLost("away"), Secret("acc"))

    async def body(membership: Membership, account: Account) -> None:
        for _ in range(20):  # the same code stays open
            await membership.join()
        assert membership.status()["join"]["user_code"] == "AB-CD"
        await until(lambda: account.account_id == "acc")
        await until(lambda: membership.status()["join"] is None)
        assert (api.codes, api.polls) == (1, 4)
        with pytest.raises(AccountError, match="is a member of acc"):
            await membership.join()
        assert await membership.leave() == "acc"
        with pytest.raises(AccountError, match="in none"):
            await membership.leave()

    with_membership(tmp_path, api, body)


def test_a_refusal_ends_the_code_and_its_reason_is_shown(tmp_path: Path) -> None:
    async def body(membership: Membership, account: Account) -> None:
        await membership.join()
        await until(lambda: membership.status()["join"] is None)
        assert membership.status() == {"accountId": "", "join": None, "error": "denied"}
        assert account.account_id == ""

    with_membership(tmp_path, CloudApi(CloudRefused("denied")), body)


def test_polls_end_with_the_code_when_the_cloud_is_away(tmp_path: Path) -> None:
    async def body(membership: Membership, _account: Account) -> None:
        await membership.join()
        await until(lambda: membership.status()["join"] is None)
        assert membership.status()["error"] == "away"

    with_membership(tmp_path, CloudApi(UplinkLost("away"), lasts_s=0.02), body)
