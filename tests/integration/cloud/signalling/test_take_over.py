"""Requests in flight when the SEP of a cluster moves: safe ones succeed once, others say so."""

import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from protocol.http_body import HttpRequest, HttpResponse
from tests.integration.cloud.peers import Node
from tests.mqtt_peer import Mqtt
from tests.programs import until
from tests.system import Cloud


def silent(_: HttpRequest) -> HttpResponse | None:
    return None


def ok(_: HttpRequest) -> HttpResponse:
    return HttpResponse(200, (), b"hello")


def lose(mqtt: Mqtt) -> None:
    """End a connection as a node does that is killed."""
    mqtt.client.loop_stop()
    carrier = mqtt.client.socket()
    assert isinstance(carrier, socket.socket)
    carrier.shutdown(socket.SHUT_RDWR)


# case N19
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_request_in_flight_when_its_supernode_dies(cloud: Cloud, method: str) -> None:
    first, second = Node(cloud), Node(cloud)
    for supernode in (first, second):
        supernode.register().raise_for_status()
    member = Node(cloud, supernode_id=first.node_id)
    member.register(membership=first.vouch_for(member, 1)).raise_for_status()
    with first.connect() as mqtt, member.serve(ok, via=second), ThreadPoolExecutor() as pool:
        mqtt.client.on_message = lambda *a: member._on_request(mqtt, first, a[2], silent)
        assert mqtt.subscribe(f"$hec/sep/{first.node_id}/+/request")
        waiting = pool.submit(cloud.call, method, f"/sep/{member.node_id}/x")
        until(lambda: member.requests, "the request is at the node")
        lose(mqtt)
        member.supernode_id = second.node_id
        member.register(membership=second.vouch_for(member, 2)).raise_for_status()
        answer = waiting.result()
    if method == "GET":
        assert (answer.status_code, answer.text) == (200, "hello")
        assert len(member.requests) == 2
    else:
        assert answer.status_code == 502
        assert f"cannot say whether node {member.node_id} has carried out" in answer.text
        assert len(member.requests) == 1
