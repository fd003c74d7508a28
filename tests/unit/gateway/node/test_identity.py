import stat
from pathlib import Path

import pytest

from gateway.errors import GatewayError
from gateway.node.identity import load_identity
from gateway.storage.private_file import write_private


def test_an_identity_is_made_once_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    first = load_identity(tmp_path)
    again = load_identity(tmp_path)
    assert first.node_id == again.node_id
    assert first.api_key == again.api_key
    files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert files == {"node-key.pem": 0o600, "api-key": 0o600}


# case CL5
def test_a_sealing_key_is_of_one_run_and_in_no_file(tmp_path: Path) -> None:
    (tmp_path / "sealing-key").write_bytes(bytes(64))  # as an earlier version left it
    first = load_identity(tmp_path)
    assert not (tmp_path / "sealing-key").exists()
    again = load_identity(tmp_path)
    assert first.sealing.public != again.sealing.public


def test_two_nodes_differ(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, two = load_identity(tmp_path / "a"), load_identity(tmp_path / "b")
    assert one.node_id != two.node_id
    assert one.api_key != two.api_key


@pytest.mark.parametrize("name", ["node-key.pem", "api-key"])
def test_a_damaged_key_is_named_and_never_replaced(tmp_path: Path, name: str) -> None:
    load_identity(tmp_path)
    (tmp_path / name).write_bytes(b"\xff")
    with pytest.raises(GatewayError, match=name):
        load_identity(tmp_path)
    assert (tmp_path / name).read_bytes() == b"\xff"


def test_a_draft_left_by_a_power_cut_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / "api-key.new").write_bytes(b"half")
    write_private(tmp_path / "api-key", b"whole")
    assert (tmp_path / "api-key").read_bytes() == b"whole"
    assert not (tmp_path / "api-key.new").exists()
