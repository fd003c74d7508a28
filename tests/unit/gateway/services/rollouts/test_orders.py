"""Orders between nodes: their bodies, and the codes that allow them."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace

import pytest

from gateway.errors import UplinkLost
from gateway.services.rollouts.orders import (
    CODE_HEADER,
    OrderProgress,
    OrderState,
    RolloutOrder,
    decode_order,
    decode_progress,
    encode_order,
    operation_of,
)
from gateway.services.rollouts.peers import PeerLostError, PeerRefusedError, SepPeers
from protocol.codes import check_code
from protocol.errors import TokenError

ORDER = RolloutOrder("0" * 24, "api", "probe", "api-probe-v1", "sha256:1", "own", "c", {"V": "2"})
KEY, NODE = b"k" * 32, "1" * 56


def test_an_order_is_read_as_it_was_written() -> None:
    assert decode_order(encode_order(ORDER)) == ORDER
    given_again = replace(ORDER, attempt="2")
    assert decode_order(encode_order(given_again)) == given_again


def test_an_order_of_an_older_node_has_no_attempt() -> None:
    fields = json.loads(encode_order(ORDER))
    del fields["attempt"]
    assert decode_order(json.dumps(fields).encode()) == ORDER


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"env": 1}', b'{"env": {"a": 1}}', b"\xff"])
def test_what_is_no_order_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        decode_order(body)
    with pytest.raises(ValueError, match=r"\w"):
        decode_progress(body)


def peers(status: int, body: bytes) -> SepPeers:
    async def call(
        method: str, node_id: str, path: str, headers: Mapping[str, str], sent: bytes
    ) -> tuple[int, bytes]:
        operation = operation_of(method, path, sent)
        check_code(headers[CODE_HEADER], KEY, node_id, operation, 1000.0)
        for other in (operation_of(method, path, sent + b" "), operation_of("POST", path, sent)):
            with pytest.raises(TokenError):
                check_code(headers[CODE_HEADER], KEY, node_id, other, 1000.0)
        with pytest.raises(TokenError):
            check_code(headers[CODE_HEADER], KEY, "2" * 56, operation, 1000.0)
        if not status:
            raise UplinkLost("cannot reach the cloud")
        return status, body

    account = SimpleNamespace(key=KEY)
    return SepPeers(account, call, lambda: 1000.0)  # type: ignore[arg-type]  # the key is all it reads


def test_a_code_allows_one_method_path_and_body_at_one_node() -> None:
    answer = asyncio.run(peers(200, b'{"state": "ready"}').give(NODE, ORDER))
    assert answer == OrderProgress(OrderState.READY)


@pytest.mark.parametrize(
    ("status", "body", "error", "why"),
    [
        (0, b"", PeerLostError, "cannot reach the cloud"),
        (503, b'{"detail": "its cluster is not connected"}', PeerLostError, "its cluster"),
        (504, b"", PeerLostError, "HTTP 504"),
        (429, b"", PeerLostError, "HTTP 429"),
        (403, b'{"detail": "it takes no roll-outs"}', PeerRefusedError, "it takes no roll-outs"),
        (404, b"<html>", PeerRefusedError, "HTTP 404"),
        (200, b'{"state": "?"}', PeerRefusedError, "cannot be read"),
    ],
)
def test_a_node_that_is_away_is_told_from_one_that_refuses(
    status: int, body: bytes, error: type[Exception], why: str
) -> None:
    with pytest.raises(error, match=why):
        asyncio.run(peers(status, body).give(NODE, ORDER))


def test_an_order_that_is_not_known_any_more_is_given_again() -> None:
    assert asyncio.run(peers(404, b"").ask(NODE, ORDER.rollout_id)) is None
