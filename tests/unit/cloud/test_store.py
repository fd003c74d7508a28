import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from cloud.errors import StartError
from cloud.signalling.bep import Bep, RelayAddress
from cloud.store import MIGRATIONS, Store
from protocol.records import Address, NodeRecord, Service, to_fields

A, B = "a" * 56, "b" * 56
RELAY = RelayAddress("relay", 8443)
RECORD = NodeRecord(
    A, "one", "1", B, b"key", "", (Address("local", "http://x"),), (Service("s", "t", "/p"),)
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cloud.db")


def test_file_is_private(tmp_path: Path, store: Store) -> None:
    store.account_for("i", "s", 1)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_account_is_made_at_the_first_login_only(store: Store) -> None:
    first = store.account_for("issuer", "subject", 1)
    assert store.account_for("issuer", "subject", 2) == first
    others = {store.account_for("issuer", "other", 3), store.account_for("other", "subject", 3)}
    assert len(others | {first}) == 3
    key = store.account_key(first)
    assert key is not None
    assert len(key) == 32
    assert store.account_key("none") is None


def test_record_comes_back_with_the_account_that_the_store_knows(store: Store) -> None:
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


def test_node_belongs_to_one_account_until_it_is_forgotten(store: Store) -> None:
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


def test_node_limit_stops_newcomers_only(store: Store) -> None:
    assert store.save_node(RECORD, 1, 1)
    assert store.save_node(replace(RECORD, node_id=B), 1, 1) is None
    assert store.save_node(RECORD, 2, 1)


def test_beps_of_a_node_until_revoked_or_expired(store: Store) -> None:
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


def test_beps_know_their_run_and_their_relay(store: Store) -> None:  # case G7
    here = Bep("x" * 22, A, RELAY, 100.0, "run-1")
    elsewhere = Bep("y" * 22, B, RelayAddress("other", 8443), 100.0)
    assert store.add_bep(here, 1, 8)
    assert store.add_bep(elsewhere, 1, 8)
    assert store.beps_at(RELAY, 1) == store.beps_of(A, 1) == [here]
    assert store.beps_at(RELAY, 101) == []


def test_an_assertion_is_good_once(store: Store) -> None:
    assert store.use_once(A, "jti", 100)
    assert not store.use_once(A, "jti", 100)
    assert store.use_once(B, "jti", 100)
    store.purge(150, 60)
    assert not store.use_once(A, "jti", 100), "kept for longer than clocks may differ"
    store.purge(161, 60)
    assert store.use_once(A, "jti", 100)


def test_state_survives_a_restart(tmp_path: Path, store: Store) -> None:
    account = store.account_for("i", "s", 1)
    store.save_node(RECORD, 1, 10)
    store.associate(A, account)
    store.close()
    again = Store(tmp_path / "cloud.db")
    assert again.nodes_of(account) == [RECORD.with_account(account)]


def test_a_failed_write_changes_nothing_and_blocks_nothing(store: Store) -> None:
    account = store.account_for("i", "s", 1)

    def fail() -> None:
        with store._write() as db:
            db.execute("DELETE FROM accounts")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert store.account_key(account)
    assert store.account_for("i", "t", 1)


def test_database_of_a_newer_program_is_refused(tmp_path: Path, store: Store) -> None:
    with store._write() as db:
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    store.close()
    with pytest.raises(StartError, match="newer than this program"):
        Store(tmp_path / "cloud.db")


def test_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cloud.db"
    path.write_text("not a database, but long enough to be read as one" * 50)
    with pytest.raises(StartError, match="cannot open store"):
        Store(path)


# case CL7
def test_a_member_is_its_own_supernode_when_nobody_vouches_for_it_any_more(store: Store) -> None:
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


# case CL7
def test_members_of_an_earlier_version_are_their_own_supernodes(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    database = sqlite3.connect(path)
    database.executescript(f"{MIGRATIONS[0]} PRAGMA user_version = 1;")
    text = json.dumps(to_fields(RECORD))
    database.execute("INSERT INTO nodes VALUES (?, NULL, ?, 1, 1)", (A, text))
    database.commit()
    database.close()
    assert Store(path).node(A) == replace(RECORD, supernode_id=A)
