"""Encodes what nodes of an account ask of each other in a roll-out, and authorises it. Pure.

An order travels over the SEP, and the cloud can read it. It carries a code, made with the key that
all nodes of the account share, for this method, this path and this very body: the cloud can
neither make an order nor change one. A code is valid for CODE_S, and begins one run. Codes have
whole seconds, so that an order that is given again at once needs another body: its attempt.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from web import JsonError, parse_json

CODE_HEADER = "x-hecate-code"
CODE_S = 120
ORDER_LIMIT_BYTES = 64 * 1024
PREFIX = "/mcm/v1/rollouts/orders"


class OrderState(StrEnum):
    """The states of an order at the node that carries it out."""

    TRANSFERRING = "transferring"
    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"
    LOST = "lost"  # the image could not be fetched now


@dataclass(frozen=True, slots=True)
class RolloutOrder:
    """One container that a node must run."""

    rollout_id: str
    client_id: str
    name: str
    image_id: str
    digest: str  # of the image at the coordinating node
    source_id: str  # the node that has the image
    source_code: str  # with which that node sends it
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    attempt: str = ""  # another one each time it is given; older nodes send none


@dataclass(frozen=True, slots=True)
class OrderProgress:
    """The state of an order, for the node that gave it."""

    state: OrderState
    error: str = ""


def order_path(rollout_id: str) -> str:
    """Return the path of an order."""
    return f"{PREFIX}/{rollout_id}"


def operation_of(method: str, path: str, body: bytes) -> str:
    """Return the operation that a code allows."""
    return f"{method} {path} sha256:{hashlib.sha256(body).hexdigest()}"


def encode_order(order: RolloutOrder) -> bytes:
    """Return the body of an order."""
    return json.dumps(asdict(order)).encode()


def decode_order(body: bytes) -> RolloutOrder:
    """Return the order in a body; ValueError when it is none."""
    fields = _object(body)
    env = fields.get("env")
    names = [name for name in RolloutOrder.__dataclass_fields__ if name != "env"]
    texts = {name: fields.get(name) for name in names} | {"attempt": fields.get("attempt", "")}
    if not isinstance(env, dict) or not all(isinstance(value, str) for value in env.values()):
        raise ValueError("env must hold texts")
    for name, value in texts.items():
        if not isinstance(value, str):
            raise ValueError(f"{name} must be a text")  # noqa: TRY004  # one error for a bad body
    return RolloutOrder(**texts, env=env)  # type: ignore[arg-type]  # texts, as checked


def encode_progress(progress: OrderProgress) -> dict[str, str]:
    """Return the fields of an answer."""
    return {"state": progress.state.value, "error": progress.error}


def decode_progress(body: bytes) -> OrderProgress:
    """Return the progress in an answer; ValueError when it is none."""
    fields = _object(body)
    return OrderProgress(OrderState(str(fields.get("state"))), str(fields.get("error") or "")[:500])


def _object(body: bytes) -> dict[str, Any]:
    try:
        fields = parse_json(body)
    except JsonError as exc:
        raise ValueError(str(exc)) from exc
    if not isinstance(fields, dict):
        raise ValueError("not an object")  # noqa: TRY004  # one error for a bad body
    return fields
