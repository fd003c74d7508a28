import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey, KeySet
from starlette.requests import Request

from gateway.access.guard import CLUSTERS, MANAGE, Guard, SidecarCaller
from gateway.access.tokens import REFRESH_S, AccessTokens
from gateway.errors import UplinkLost
from gateway.http.origin import KEY
from gateway.http.problems import Problem
from gateway.node.account import Account
from gateway.storage.gateway_file import gateway_database
from gateway.storage.settings import SettingsStore
from protocol.tokens import sign_token
from settings.secret import Secret

NODE = "a" * 56
API_KEY = "k" * 32
SIGNER = ECKey.generate_key("P-256")
FORGER = ECKey.generate_key("P-256")


class Clock:
    def __init__(self) -> None:
        self.now = time.time()
        self.fetches = 0
        self.away = False

    async def fetch(self) -> dict[str, Any]:
        self.fetches += 1
        if self.away:
            raise UplinkLost("cannot get signing keys: away")
        return dict(KeySet([SIGNER]).as_dict(private=False))


def make_token(clock: Clock, key: ECKey = SIGNER, **changes: Any) -> str:
    claims = {"aud": "hecate", "sub": "acc", "scope": f"{MANAGE} {CLUSTERS}", **changes}
    return sign_token(claims, key, clock.now, 60)


def make_guard(tmp_path: Path, clock: Clock) -> Guard:
    """Return the guard of a node that is in no account and has nothing stored."""
    settings = SettingsStore(gateway_database(tmp_path))
    tokens = AccessTokens(
        NODE, Account(settings), settings, clock.fetch, lambda: clock.now, lambda: clock.now
    )
    return Guard(Secret(API_KEY), tokens)


def ask(
    tmp_path: Path, clock: Clock, *requests: Request, account: str = "acc", named: str = ""
) -> list[Any]:
    async def run() -> list[Any]:
        database = gateway_database(tmp_path)
        await database.open()
        settings = SettingsStore(database)
        owner = Account(settings)
        await owner.become(account)
        tokens = AccessTokens(
            NODE, owner, settings, clock.fetch, lambda: clock.now, lambda: clock.now
        )
        await tokens.load()
        guard = Guard(Secret(API_KEY), tokens)
        answers: list[Any] = []
        for request in requests:
            try:
                answers.append(
                    await guard.named_client(request, named)
                    if named
                    else await guard.caller(request)
                )
            except Problem as exc:
                answers.append(int(exc.status))
        await database.close()
        return answers

    return asyncio.run(run())


def request(shown: str, origin: str = "network", **headers: str) -> Request:
    pairs = {"authorization": shown, **{k.replace("_", "-"): v for k, v in headers.items()}}
    raw = [(name.encode(), value.encode()) for name, value in pairs.items()]
    return Request({"type": "http", "headers": raw, KEY: origin})


@pytest.mark.parametrize(
    "shown",
    ["", "Bearer", "Bearer ", API_KEY, f"Basic {API_KEY}", "Bearer x", f"Bearer {API_KEY}x"],
)
def test_without_good_credentials_nobody_is_let_in(tmp_path: Path, shown: str) -> None:
    assert ask(tmp_path, Clock(), request(shown)) == [401]


@pytest.mark.parametrize("shown", ["x", f"{API_KEY}x", "a.b"])
def test_a_wrong_key_is_called_one_and_asks_nobody(tmp_path: Path, shown: str) -> None:
    clock = Clock()
    with pytest.raises(Problem, match="neither the API key of this gateway nor an access token"):
        asyncio.run(make_guard(tmp_path, clock).caller(request(f"Bearer {shown}")))
    assert clock.fetches == 0


def test_the_api_key_may_do_everything_on_the_local_network_only(tmp_path: Path) -> None:
    shown = f"Bearer {API_KEY}"
    ways = [request(shown, origin) for origin in ("loopback", "network", "sep", "bep")]
    local = SidecarCaller("api", frozenset(), has_key=True)
    assert ask(tmp_path, Clock(), *ways) == [local, local, 401, 401]
    (named,) = ask(tmp_path, Clock(), request(f"bearer {API_KEY}", x_client_id="shop"))
    assert named.client_id == "shop"
    assert named.may("anything")


def test_a_token_of_the_account_has_its_scopes_from_everywhere(tmp_path: Path) -> None:
    clock = Clock()
    token = make_token(clock, node_id=NODE, client_id="shop")
    (caller,) = ask(tmp_path, clock, request(f"Bearer {token}", "sep"))
    assert caller == SidecarCaller("shop", frozenset({MANAGE, CLUSTERS}))
    assert caller.may(MANAGE)
    assert not caller.may("edge:read:accountkey")


def test_the_client_of_a_token_may_stand_in_azp(tmp_path: Path) -> None:
    clock = Clock()
    shown = [make_token(clock, azp="shop"), make_token(clock, azp="x", client_id="shop")]
    callers = ask(tmp_path, clock, *(request(f"Bearer {token}") for token in shown))
    assert [caller.client_id for caller in callers] == ["shop", "shop"]


def test_only_the_api_key_acts_for_other_clients(tmp_path: Path) -> None:
    clock = Clock()
    key = request(f"Bearer {API_KEY}")
    token = request(f"Bearer {make_token(clock, client_id='shop')}")
    weak = request(f"Bearer {make_token(clock, client_id='shop', scope=CLUSTERS)}")
    for shown, named, result in (
        (key, "other", "other"),
        (key, "no/id", 403),
        (token, "shop", "shop"),
        (token, "other", 403),
        (weak, "shop", 403),
        (request(""), "shop", 403),
    ):
        assert ask(tmp_path, clock, shown, named=named) == [result], (shown.headers, named)


def test_tokens_that_are_not_for_this_node_are_refused(tmp_path: Path) -> None:
    clock = Clock()
    bad = [
        make_token(clock, FORGER),
        make_token(clock, sub="other"),
        make_token(clock, sub=""),
        make_token(clock, aud="relay"),
        make_token(clock, node_id="b" * 56),
        make_token(clock, exp=int(clock.now) - 60),
    ]
    answers = ask(tmp_path, clock, *(request(f"Bearer {token}") for token in bad))
    assert answers == [401] * len(bad)
    assert clock.fetches == 1  # forged ones do not make the node ask again and again


def test_a_node_in_no_account_takes_no_token(tmp_path: Path) -> None:
    clock = Clock()
    for account in ("acc", ""):
        token = make_token(clock, sub=account)
        assert ask(tmp_path, clock, request(f"Bearer {token}"), account="") == [401]


def test_the_clouds_keys_are_kept_for_when_it_is_away(tmp_path: Path) -> None:
    clock = Clock()
    asked = request(f"Bearer {make_token(clock)}")
    clock.away = True
    assert ask(tmp_path, clock, asked) == [401]
    clock.away = False
    clock.now += REFRESH_S + 1
    token = make_token(clock)
    (caller,) = ask(tmp_path, clock, request(f"Bearer {token}"))
    assert isinstance(caller, SidecarCaller)
    clock.away = True
    (caller,) = ask(tmp_path, clock, request(f"Bearer {token}"))
    assert isinstance(caller, SidecarCaller)


@pytest.mark.parametrize("shown", [f"Bearer {API_KEY}", f"bearer  {API_KEY} "])
def test_a_microservice_does_not_see_the_api_key(tmp_path: Path, shown: str) -> None:
    guard = guard_of(tmp_path)
    assert guard.without_api_key(list(request(shown, accept="*/*").scope["headers"])) == [
        (b"accept", b"*/*")
    ]
    token = list(request("Bearer token").scope["headers"])
    assert guard.without_api_key(token) == token


def guard_of(tmp_path: Path) -> Guard:
    settings, clock = SettingsStore(gateway_database(tmp_path)), Clock()
    tokens = AccessTokens(NODE, Account(settings), settings, clock.fetch, lambda: clock.now)
    return Guard(Secret(API_KEY), tokens)
