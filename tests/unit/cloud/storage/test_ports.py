"""Every adapter of the store keeps the promises of its ports."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from cloud.storage.records import Bep, DeviceGrant, RelayAddress
from cloud.storage.sqlite import SqliteCloudStore
from protocol.records import Address, NodeRecord, OfferedService
from tests.unit.cloud.storage.blocking import Blocking, CloseableStore
from tests.unit.cloud.storage.memory import MemoryStore

A, B = "a" * 56, "b" * 56
RELAY = RelayAddress("relay", 8443)
RECORD = NodeRecord(
    A, "one", "1", B, b"key", "", (Address("local", "http://x"),), (OfferedService("s", "t", "/p"),)
)


def open_sqlite(folder: Path) -> CloseableStore:
    return SqliteCloudStore(folder / "cloud.db")


def open_memory(_: Path) -> CloseableStore:
    return MemoryStore()


@pytest.fixture(params=[open_sqlite, open_memory])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Blocking]:
    with closing(request.param(tmp_path)) as opened:
        yield Blocking(opened)


def test_account_is_made_at_the_first_login_only(store: Blocking) -> None:
    first = store.account_for("issuer", "subject", 1)
    assert store.account_for("issuer", "subject", 2) == first
    others = {store.account_for("issuer", "other", 3), store.account_for("other", "subject", 3)}
    assert len(others | {first}) == 3
    key = store.account_key(first)
    assert key is not None
    assert len(key) == 32
    assert store.account_key("none") is None


def test_record_comes_back_with_the_account_that_the_store_knows(store: Blocking) -> None:
    account = store.account_for("i", "s", 1)
    claimed = replace(RECORD, account_id="acc-claimed")
    assert store.save_node(claimed, 1, 10) == RECORD
    assert store.node(A) == RECORD
    assert store.associate(A, account)
    assert store.account_of(A) == account
    assert store.node(A) == RECORD.with_account(account)
    renamed = replace(RECORD, name="two")
    assert store.save_node(renamed, 2, 10) == renamed.with_account(account)
    assert store.nodes_of(account) == [renamed.with_account(account)]


def test_node_belongs_to_one_account_until_it_is_forgotten(store: Blocking) -> None:
    one, two = store.account_for("i", "1", 1), store.account_for("i", "2", 1)
    assert not store.associate(A, one)
    store.save_node(RECORD, 1, 10)
    assert store.associate(A, one)
    assert store.associate(A, one)
    assert not store.associate(A, two)
    assert store.delete_node(A)
    assert not store.delete_node(A)
    assert store.account_of(A) == ""
    store.save_node(RECORD, 2, 10)
    assert store.associate(A, two)


def test_node_limit_stops_newcomers_only(store: Blocking) -> None:
    assert store.save_node(RECORD, 1, 1)
    assert store.save_node(replace(RECORD, node_id=B), 1, 1) is None
    assert store.save_node(RECORD, 2, 1)


def test_beps_of_a_node_until_revoked_or_expired(store: Blocking) -> None:
    beps = [Bep(name * 22, A, RELAY, 100.0) for name in "xyz"]
    assert store.add_bep(beps[0], 1, 2)
    assert store.add_bep(beps[1], 1, 2)
    assert not store.add_bep(beps[2], 1, 2)
    assert store.add_bep(beps[2], 101, 2), "expired ones do not count"
    assert store.beps_of(A, 1)[:2] == beps[:2]
    assert store.beps_of(B, 1) == []
    assert not store.revoke_bep(beps[0].bep_id, B), "only its own node may"
    assert store.revoke_bep(beps[0].bep_id, A)
    assert not store.revoke_bep(beps[0].bep_id, A)
    assert store.revoked_beps(1) == [beps[0].bep_id]
    assert store.count_beps(1) == 2
    store.purge(200, 60)
    assert store.revoked_beps(1) == []


def test_beps_know_their_run_and_their_relay(store: Blocking) -> None:  # case G7
    here = Bep("x" * 22, A, RELAY, 100.0, "run-1")
    elsewhere = Bep("y" * 22, B, RelayAddress("other", 8443), 100.0)
    assert store.add_bep(here, 1, 8)
    assert store.add_bep(elsewhere, 1, 8)
    assert store.beps_at(RELAY, 1) == store.beps_of(A, 1) == [here]
    assert store.beps_at(RELAY, 101) == []


def test_an_assertion_is_good_once(store: Blocking) -> None:
    assert store.use_once(A, "jti", 100)
    assert not store.use_once(A, "jti", 100)
    assert store.use_once(B, "jti", 100)
    store.purge(150, 60)
    assert not store.use_once(A, "jti", 100), "kept for longer than clocks may differ"
    store.purge(161, 60)
    assert store.use_once(A, "jti", 100)


# case CL7
def test_a_member_is_its_own_supernode_when_nobody_vouches_for_it_any_more(
    store: Blocking,
) -> None:
    store.save_node(RECORD, 1, 10, vouched_until=100.0)
    store.purge(100.0, 0.0)
    assert store.node(A) == RECORD
    store.purge(100.1, 0.0)
    alone = replace(RECORD, supernode_id=A)
    assert store.node(A) == alone
    store.save_node(RECORD, 200, 10, vouched_until=300.0)
    assert store.node(A) == RECORD
    assert not store.delete_node(B)  # its supernode
    assert store.node(A) == alone


def test_every_node_is_listed_with_its_account(store: Blocking) -> None:
    account = store.account_for("i", "s", 1)
    for node_id in (A, B):
        store.save_node(replace(RECORD, node_id=node_id), 1, 10)
    store.associate(A, account)
    assert store.node_accounts() == {A: account, B: ""}


GRANT = DeviceGrant("digest", "BCDFGHJK", A, "one", "edge:account:associate", 100.0)


@pytest.mark.parametrize("allow", [True, False])
def test_a_grant_is_decided_once_and_taken_once(store: Blocking, *, allow: bool) -> None:
    assert store.add_grant(GRANT, 1, 8)
    assert store.take_grant("digest", 1) == GRANT, "it waits"
    assert store.decide_grant("other", "acc-1", 1, allow=allow) is None
    decided = replace(GRANT, account_id="acc-1" if allow else "", denied=not allow)
    assert store.decide_grant("BCDFGHJK", "acc-1", 1, allow=allow) == decided
    assert store.decide_grant("BCDFGHJK", "acc-2", 1, allow=allow) is None
    assert store.take_grant("digest", 1) == decided
    assert store.take_grant("digest", 1) is None


def test_grants_expire_and_have_a_bound(store: Blocking) -> None:
    other = replace(GRANT, device_digest="other", user_code="LMNPQRST", node_id=B)
    assert store.add_grant(GRANT, 1, 1)
    assert not store.add_grant(other, 1, 1)
    assert store.add_grant(replace(GRANT, device_digest="again"), 1, 1), "in place of the first"
    assert store.take_grant("digest", 1) is None
    assert store.decide_grant("BCDFGHJK", "acc-1", 100, allow=True) is None, "expired"
    assert store.add_grant(other, 100, 1)


def test_beps_of_a_node_that_is_deleted_are_orphans(store: Blocking) -> None:
    store.save_node(RECORD, 1, 10)
    bep = Bep("x" * 22, A, RELAY, 100.0)
    assert store.add_bep(bep, 1, 8)
    assert store.orphaned_beps(1) == []
    store.delete_node(A)
    assert store.orphaned_beps(1) == [bep]
    assert store.revoke_bep(bep.bep_id, A)
    assert store.orphaned_beps(1) == []
    assert store.count_recent_beps(A, 1) == 1
    assert store.count_recent_beps(A, 100) == 0
