from pathlib import Path

import pytest

from cloud.errors import StartError
from cloud.keyring import open_directory, open_keyring, open_password, open_signing_key


def test_keys_are_made_once_and_are_private(tmp_path: Path) -> None:
    first, second = open_keyring(tmp_path), open_keyring(tmp_path)
    assert first.signing.thumbprint() == second.signing.thumbprint()
    assert first.sealing.public == second.sealing.public
    assert {p.name for p in tmp_path.iterdir()} == {"signing-key.pem", "sealing-key"}
    assert {p.stat().st_mode & 0o777 for p in tmp_path.iterdir()} == {0o600}


def test_published_keys_hold_no_private_part(tmp_path: Path) -> None:
    (key,) = open_keyring(tmp_path).published().as_dict(private=False)["keys"]
    assert "d" not in key
    assert key["kid"]


def test_password_is_made_once_and_long(tmp_path: Path) -> None:
    path = tmp_path / "dev-password"
    assert open_password(path) == open_password(path) == path.read_text().strip()
    assert len(open_password(path)) >= 22


@pytest.mark.parametrize("name", ["signing-key.pem", "sealing-key"])
def test_damaged_keys_are_refused_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"damaged")
    with pytest.raises(StartError, match=name):
        open_keyring(tmp_path)


def test_directory_is_made_private(tmp_path: Path) -> None:
    directory = tmp_path / "a" / "b"
    open_directory(directory)
    assert directory.stat().st_mode & 0o777 == 0o700


def test_directory_that_cannot_be_used_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartError, match="HECATE_CLOUD_STORE_DIRECTORY"):
        open_directory(tmp_path / "file" / "b")


def test_key_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="cannot use"):
        open_signing_key(tmp_path / "none" / "key.pem")
