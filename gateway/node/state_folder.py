"""Locks the state folder for one gateway and chooses the folder of its sockets."""

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.errors import GatewayError

SOCKET_PATH_LIMIT = 100  # sun_path holds 108 bytes on Linux, 104 elsewhere
LONGEST_SOCKET = len("/services/0123456789ab.sock")


@contextmanager
def hold_state(state: Path) -> Iterator[None]:
    """Lock the state folder, which is made if missing; GatewayError if another gateway has it."""
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(state / "gateway.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as exc:
        raise GatewayError(
            f"cannot use state folder {state}: {exc.strerror}; set [node] state or "
            "HECATE_GATEWAY_NODE_STATE"
        ) from exc
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise GatewayError(
                f"cannot use state folder {state}: another gateway runs with it; set [node] state "
                "or HECATE_GATEWAY_NODE_STATE"
            ) from exc
        yield
    finally:
        os.close(descriptor)


def runtime_folder(state: Path, environ_runtime: str, uid: int) -> Path:
    """Return the folder of Unix sockets: below the state folder, unless the paths get too long."""
    here = state / "run"
    if len(os.fsencode(here)) + LONGEST_SOCKET <= SOCKET_PATH_LIMIT:
        return here
    name = f"hecate-{hashlib.sha256(os.fsencode(state)).hexdigest()[:12]}"
    if environ_runtime.startswith("/"):
        return Path(environ_runtime) / name
    return Path(tempfile.gettempdir()) / f"{name}-{uid}"


def make_private(folder: Path) -> Path:
    """Make a folder private to this user; GatewayError when it belongs to another user."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
        if found.st_uid != os.getuid():
            raise GatewayError(f"cannot use {folder}: it belongs to another user")
        folder.chmod(0o700)
    except OSError as exc:
        raise GatewayError(f"cannot use {folder}: {exc.strerror}") from exc
    return folder
