"""Makes the cloud's keys at the first start, and reads them from files of mode 0600."""

import logging
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet

from cloud.errors import StartError
from protocol.errors import WireError
from protocol.keys import SealingKey, new_sealing_key

logger = logging.getLogger(__name__)

DIRECTORY_MODE = 0o700
FILE_MODE = 0o600
PASSWORD_BYTES = 18  # 144 random bits cannot be guessed, so attempts are not counted


@dataclass(frozen=True, slots=True)
class Keyring:
    """The cloud's private keys."""

    signing: ECKey = field(repr=False)
    sealing: SealingKey = field(repr=False)

    def published(self) -> KeySet:
        """Return the keys that verify what this cloud signs."""
        return KeySet([self.signing])


def open_directory(directory: Path) -> None:
    """Make the state directory if there is none; StartError when it cannot be used."""
    try:
        directory.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        if not os.access(directory, os.W_OK | os.X_OK):
            raise PermissionError("permission denied")
    except OSError as exc:
        why = exc.strerror or str(exc)
        raise StartError(
            f"cannot use state directory {directory}: {why}; "
            "set [store] directory or HECATE_CLOUD_STORE_DIRECTORY"
        ) from exc


def open_keyring(directory: Path) -> Keyring:
    """Return the keys in a directory, made if there are none."""
    return Keyring(
        signing=open_signing_key(directory / "signing-key.pem"),
        sealing=_open_sealing_key(directory / "sealing-key"),
    )


def open_signing_key(path: Path) -> ECKey:
    """Return the ES256 key in a PEM file, made if there is none."""
    pem = _read_or_make(path, _new_signing_pem)
    try:
        return ECKey.import_key(pem)
    except (JoseError, ValueError) as exc:
        raise StartError(f"cannot load {path}: not a PEM key") from exc


def open_password(path: Path) -> str:
    """Return the password in a file, made if there is none."""
    return _read_or_make(path, lambda: secrets.token_urlsafe(PASSWORD_BYTES).encode()).decode()


def _open_sealing_key(path: Path) -> SealingKey:
    seed = _read_or_make(path, lambda: new_sealing_key().seed, text=False)
    try:
        return SealingKey(seed)
    except WireError as exc:
        raise StartError(f"cannot load {path}: {exc}") from exc


def _new_signing_pem() -> bytes:
    return ECKey.generate_key("P-256").as_pem(private=True)


def _read_or_make(path: Path, make: Callable[[], bytes], *, text: bool = True) -> bytes:
    try:
        if not path.exists():
            _write_private(path, make() + (b"\n" if text else b""))
            logger.info("made %s", path)
        content = path.read_bytes()
    except OSError as exc:
        raise StartError(f"cannot use {path}: {exc.strerror}") from exc
    return content.strip() if text else content


def _write_private(path: Path, content: bytes) -> None:
    # A key that a crash leaves half written would lock nodes out: write aside, sync, rename.
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.rename(path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise
