"""The contract's vectors, from the host's side."""

import json
from pathlib import Path

from gateway.devices.joining.requests import encode_pending
from gateway.mqtt.access import JOIN_USER
from gateway.mqtt.device_logins import CLAIM_USER
from protocol import ids, topics

VECTORS = json.loads(
    (Path(__file__).resolve().parents[1] / "vectors/device_contract.json").read_text()
)


def test_topics() -> None:
    join = VECTORS["topics"]["join"]
    assert topics.join_request(join["client_id"]) == join["request"]
    assert topics.join_response(join["client_id"]) == join["response"]
    assert topics.device_prefix(VECTORS["device_id"]) == VECTORS["prefix"]
    assert VECTORS["topics"]["status"] == topics.device_prefix(VECTORS["device_id"]) + "/status"


def test_joins() -> None:
    pending = VECTORS["join_pending"]
    assert json.loads(encode_pending(pending["pending"], pending["known_as"])) == pending
    assert (VECTORS["claim_user"], VECTORS["approval_user"]) == (CLAIM_USER, JOIN_USER)
    assert topics.credentials_topic(VECTORS["device_id"]) == VECTORS["topics"]["credentials"]


def test_device_id() -> None:
    assert ids.DEVICE_ID.fullmatch(VECTORS["device_id"])
    assert ids.DEVICE_ID.fullmatch(ids.new_device_id())
