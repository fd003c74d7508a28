"""Writing password files: whole or not at all, and for the owner only."""

import os
import stat
import threading
from pathlib import Path

import pytest

from broker.access.errors import AccessError
from broker.access.passwords.edit import generate_password, remove_user, set_password
from broker.access.passwords.hashes import ScryptCost, parse_passwords

CHEAP = ScryptCost(1, 1, 1)


def users(path: Path) -> set[str]:
    found, problems = parse_passwords(path.read_text())
    assert not problems
    return set(found)


def test_a_file_is_made_changed_and_private(tmp_path: Path) -> None:
    path = tmp_path / "passwords"
    assert set_password(path, "anna", "one", CHEAP)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert set_password(path, "ben", "two", CHEAP)
    assert not set_password(path, "anna", "three", CHEAP)
    found, _ = parse_passwords(path.read_text())
    assert found["anna"].is_of(b"three")
    assert not found["anna"].is_of(b"one")
    assert found["ben"].is_of(b"two")
    assert "three" not in path.read_text()
    remove_user(path, "anna")
    assert users(path) == {"ben"}
    assert [each.name for each in tmp_path.iterdir()] == ["passwords"]


def test_a_name_that_is_the_start_of_another_stays_apart(tmp_path: Path) -> None:
    path = tmp_path / "passwords"
    for user in ("anna", "ann", "annabel"):
        set_password(path, user, "x", CHEAP)
    remove_user(path, "ann")
    assert users(path) == {"anna", "annabel"}


def test_a_mode_that_was_too_wide_is_made_narrow(tmp_path: Path) -> None:
    path = tmp_path / "passwords"
    path.write_text("# ours\n")
    path.chmod(0o644)
    set_password(path, "anna", "x", CHEAP)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text().startswith("# ours\nanna:")


def test_the_file_behind_a_link_is_written(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    link.symlink_to(real)
    set_password(link, "anna", "x", CHEAP)
    assert link.is_symlink()
    assert users(real) == {"anna"}


@pytest.mark.parametrize("user", ["", "a:b", "#a", "a\nb", " a", "anonymous", "a\x00"])
def test_names_that_nobody_can_have(tmp_path: Path, user: str) -> None:
    with pytest.raises(AccessError):
        set_password(tmp_path / "passwords", user, "x", CHEAP)
    assert not list(tmp_path.iterdir())


def test_passwords_that_nobody_can_have(tmp_path: Path) -> None:
    for password in ("", "x" * 1025, "x\x00"):
        with pytest.raises(AccessError, match="the password "):
            set_password(tmp_path / "passwords", "anna", password, CHEAP)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_done_is_said(tmp_path: Path) -> None:
    with pytest.raises(AccessError, match="no such file or directory"):
        set_password(tmp_path / "none" / "passwords", "anna", "x", CHEAP)
    (tmp_path / "passwords").write_text("ben:x\n")
    with pytest.raises(AccessError, match="it has no user anna"):
        remove_user(tmp_path / "passwords", "anna")


def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "passwords"
    set_password(path, "anna", "x", CHEAP)
    before = path.read_text()
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(AccessError, match="no space left on device"):
        set_password(path, "ben", "x", CHEAP)
    assert path.read_text() == before
    assert [each.name for each in tmp_path.iterdir()] == ["passwords"]


def test_two_writers_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "passwords"

    def write(name: str) -> None:
        for number in range(5):
            set_password(path, f"{name}{number}", "x", CHEAP)

    threads = [threading.Thread(target=write, args=(name,)) for name in ("a", "b", "c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(users(path)) == 15


def test_generated_passwords_cannot_be_guessed() -> None:
    made = {generate_password() for _ in range(50)}
    assert len(made) == 50
    assert all(len(each) == 22 for each in made)
