from contextlib import closing
from pathlib import Path

from cloud.storage.sqlite import SqliteCloudStore
from protocol.records import Address, NodeRecord, OfferedService
from tests.unit.cloud.storage.blocking import Blocking

A, B = "a" * 56, "b" * 56
RECORD = NodeRecord(
    A, "one", "1", B, b"key", "", (Address("local", "http://x"),), (OfferedService("s", "t", "/p"),)
)


def test_file_is_private(tmp_path: Path) -> None:
    with closing(SqliteCloudStore(tmp_path / "cloud.db")) as store:
        Blocking(store).account_for("i", "s", 1)
        assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_state_survives_a_restart(tmp_path: Path) -> None:
    with closing(SqliteCloudStore(tmp_path / "cloud.db")) as opened:
        store = Blocking(opened)
        account = store.account_for("i", "s", 1)
        store.save_node(RECORD, 1, 10)
        store.associate(A, account)
    with closing(SqliteCloudStore(tmp_path / "cloud.db")) as again:
        assert Blocking(again).nodes_of(account) == [RECORD.with_account(account)]
