"""Loads the keys of a node: two from files that only their owner can read, one in memory.

node-key.pem is the identity, api-key the secret of callers of the sidecar. The first start makes
both files, and nothing replaces them. Every start makes a new sealing key for SEP bodies and keeps
it in memory only. So a later run cannot open a recorded request and never executes it twice, and a
thief of the files cannot read earlier requests. The node registers the new key before it connects.
"""

import contextlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from gateway.errors import GatewayError
from gateway.storage.private_file import write_private
from protocol.errors import WireError
from protocol.keys import NodeKey, SealingKey, load_node_key, new_node_key, new_sealing_key
from settings.secret import Secret

T = TypeVar("T")

API_KEY_BYTES = 24  # 192 random bits


@dataclass(frozen=True, slots=True)
class NodeIdentity:
    """The node's keys."""

    key: NodeKey
    sealing: SealingKey
    api_key: Secret

    @property
    def node_id(self) -> str:
        """The node id of the key."""
        return self.key.node_id


def load_identity(state: Path) -> NodeIdentity:
    """Return the identity in a state folder, with a new sealing key.

    A folder without an identity gets a new one.

    Raises:
        GatewayError: a file cannot be read, written, or holds no key.
    """
    with contextlib.suppress(OSError):
        (
            state / "sealing-key"
        ).unlink()  # of old versions, which stored the key; it opens recorded requests
    return NodeIdentity(
        _load(state / "node-key.pem", lambda: new_node_key().pem(), load_node_key),
        new_sealing_key(),
        _load(state / "api-key", _new_api_key, _parse_api_key),
    )


def _load(path: Path, make: Callable[[], bytes], parse: Callable[[bytes], T]) -> T:
    try:
        if not path.exists():
            write_private(path, make())
        return parse(path.read_bytes())
    except OSError as exc:
        raise GatewayError(f"cannot use {path}: {exc.strerror}") from exc
    except (WireError, ValueError) as exc:
        raise GatewayError(f"cannot use {path}: {exc}") from exc


def _new_api_key() -> bytes:
    return (secrets.token_urlsafe(API_KEY_BYTES) + "\n").encode()


def _parse_api_key(content: bytes) -> Secret:
    key = content.decode("ascii").strip()
    if len(key) < 16:
        raise ValueError("shorter than 16 characters")
    return Secret(key)
