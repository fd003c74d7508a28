"""Writes password files: whole or not at all, readable by their owner only."""

import fcntl
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from broker.access.errors import AccessError
from broker.access.passwords.hashes import (
    CHOSEN,
    MAX_PASSWORD_BYTES,
    SALT_BYTES,
    ScramCost,
    ScryptCost,
    check_user,
    keep_password,
)
from broker.access.passwords.scram import check_prepared
from broker.access.rights.text import read_text

GENERATED_BYTES = 16  # 128 bits: cannot be guessed, whatever one try costs


def set_password(
    path: Path, user: str, password: str, cost: ScryptCost | ScramCost = CHOSEN
) -> bool:
    """Give a user a password; return whether the user is new to the file."""
    try:
        check_user(user)
        if isinstance(cost, ScramCost):
            check_prepared(user)
    except ValueError as exc:
        raise AccessError(path, [str(exc)]) from exc
    secret = password.encode()
    if not secret:
        raise AccessError(path, ["the password is empty"])
    if 0 in secret:
        raise AccessError(path, ["the password has a zero byte"])
    if len(secret) > MAX_PASSWORD_BYTES:
        raise AccessError(path, [f"the password is longer than {MAX_PASSWORD_BYTES} bytes"])
    try:
        kept = keep_password(password, secrets.token_bytes(SALT_BYTES), cost)
    except ValueError as exc:
        raise AccessError(path, [f"the password cannot be kept: {exc}"]) from exc
    return not _replace(path, user, f"{user}:{kept}")


def remove_user(path: Path, user: str) -> None:
    """Take a user out of the file."""
    if not _replace(path, user, None):
        raise AccessError(path, [f"it has no user {user}"])


def generate_password() -> str:
    """Return a password for a device, to be kept with cost GENERATED."""
    return secrets.token_urlsafe(GENERATED_BYTES)


def _replace(path: Path, user: str, line: str | None) -> bool:
    """Replace a user's line, other lines stay as they are; return whether there was one."""
    target = path.resolve()  # of a link, the file behind it
    try:
        with _locked(target.parent):
            lines = read_text(target).splitlines() if target.exists() else []
            others = [each for each in lines if each.partition(":")[0] != user]
            wanted = others + ([line] if line is not None else [])
            if wanted != lines:
                _write(target, "".join(f"{each}\n" for each in wanted))
    except OSError as exc:
        raise AccessError(path, [(exc.strerror or str(exc)).lower()]) from exc
    return len(others) < len(lines)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep a second writer out; the lock of a folder leaves nothing behind."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
        os.fsync(descriptor)  # the new name
    finally:
        os.close(descriptor)


def _write(path: Path, text: str) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            if path.exists():
                owner = path.stat()
                os.fchown(descriptor, owner.st_uid, owner.st_gid)
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
