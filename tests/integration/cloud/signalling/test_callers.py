"""Callers that disconnect, callers that exhaust limits, and nodes that are lost meanwhile."""

import contextlib
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from signal import SIGSTOP

import httpx
import pytest

from cloud.config import SignallingSettings
from gateway.uplink.connection import KEEP_ALIVE_S
from protocol.envelope import EnvelopeKind, decode_envelope, encode_envelope
from protocol.http_body import HttpRequest, HttpResponse
from protocol.topics import sep_request
from tests.integration.cloud.peers import Node, response_topic
from tests.mqtt_peer import Mqtt
from tests.programs import until
from tests.system import Cloud, Gateway, start_cloud

OTHER_ADDRESS = "127.0.0.2"
AT_A_NODE = 32  # [mss] open_limit_node
OF_A_CALLER = 16  # [mss] open_limit_caller_node


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Give a cloud that waits for answers as long as the default says."""
    cloud = start_cloud(tmp_path_factory.mktemp("patient") / "state")
    yield cloud
    assert cloud.program.stop() == 0
    assert "Traceback" not in "".join(cloud.program.lines)


def registered(cloud: Cloud) -> Node:
    node = Node(cloud)
    node.register().raise_for_status()
    return node


def silent(_: HttpRequest) -> HttpResponse | None:
    return None


def call(cloud: Cloud, node: Node, source: str = "127.0.0.1") -> socket.socket:
    """Send a request without waiting for its answer."""
    address = ("127.0.0.1", int(cloud.url.rsplit(":", 1)[1]))
    caller = socket.create_connection(address, source_address=(source, 0))
    caller.sendall(f"GET /sep/{node.node_id}/x HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return caller


def open_requests(cloud: Cloud) -> float:
    return cloud.metric("hecate_sep_open_requests")


# case CL3
def test_callers_that_hang_up_end_their_requests_also_at_the_node(patient: Cloud) -> None:
    node, cancelled = registered(patient), list[bytes]()
    with node.connect() as mqtt:

        def read(*arguments: object) -> None:
            envelope = decode_envelope(bytes(arguments[2].payload))  # type: ignore[attr-defined]
            if envelope.kind is EnvelopeKind.CANCEL:
                cancelled.append(envelope.message_id)
            else:
                node.envelopes.append(envelope)

        mqtt.client.on_message = read
        assert mqtt.subscribe(sep_request(node.node_id, "+"))
        callers = [call(patient, node) for _ in range(OF_A_CALLER)]
        callers += [call(patient, node, OTHER_ADDRESS) for _ in range(OF_A_CALLER)]
        until(lambda: len(node.envelopes) == AT_A_NODE, "all requests are open")
        for caller in callers:
            caller.close()
        until(lambda: open_requests(patient) == 0, "they are closed")
        until(lambda: len(cancelled) == AT_A_NODE, "the node knows")
        assert set(cancelled) == {envelope.message_id for envelope in node.envelopes}
    with node.serve(lambda _: HttpResponse(200)):
        assert patient.call("GET", f"/sep/{node.node_id}/x").status_code == 200
    assert patient.metric('hecate_sep_requests_total{outcome="left"}') >= AT_A_NODE


# case CL3
def test_a_burst_of_one_caller_leaves_room_for_another(patient: Cloud) -> None:
    node = registered(patient)
    with node.serve(silent) as mqtt, contextlib.ExitStack() as stack:
        callers = [stack.enter_context(call(patient, node)) for _ in range(2 * AT_A_NODE)]
        until(lambda: open_requests(patient) == OF_A_CALLER, "one caller has its share")
        until(lambda: len(node.requests) == OF_A_CALLER, "the node has them")
        refused = patient.call("GET", f"/sep/{node.node_id}/x")
        assert refused.status_code == 429
        assert "of this caller" in refused.json()["detail"]
        mqtt.client.on_message = lambda *a: node._on_request(
            mqtt, node, a[2], lambda _: HttpResponse(200)
        )
        transport = httpx.HTTPTransport(local_address=OTHER_ADDRESS)
        with httpx.Client(transport=transport, trust_env=False) as other:
            assert other.get(f"{patient.url}/sep/{node.node_id}/x").status_code == 200
        assert len(callers) == 2 * AT_A_NODE
    until(lambda: open_requests(patient) == 0, "they are closed")


# case CL4
@pytest.mark.parametrize("end", ["connection lost", "good-bye", "silence"])
def test_a_request_ends_when_its_node_is_lost(patient: Cloud, end: str) -> None:
    node = registered(patient)
    keep_alive_s = 1 if end == "silence" else 60
    mqtt = Mqtt(
        patient.mqtt_port, node.node_id, node.token(), node.node_id, keep_alive_s=keep_alive_s
    )
    with mqtt, ThreadPoolExecutor() as pool:
        mqtt.client.on_message = lambda *a: node._on_request(mqtt, node, a[2], silent)
        assert mqtt.subscribe(sep_request(node.node_id, "+"))
        waiting = pool.submit(patient.call, "POST", f"/sep/{node.node_id}/x")
        until(lambda: node.requests, "the request is at the node")
        if end == "connection lost":
            carrier = mqtt.client.socket()
            assert isinstance(carrier, socket.socket)
            carrier.shutdown(socket.SHUT_RDWR)
        elif end == "good-bye":
            mqtt.client.disconnect()
        else:
            mqtt.client.loop_stop()  # as a node whose packets vanish
        answer = waiting.result()
    assert answer.status_code == 502, answer.text  # not 504, which takes all of the time
    assert "cannot say whether node" in answer.json()["detail"]


# case CL4
def test_a_node_that_opens_a_new_connection_can_still_answer(patient: Cloud) -> None:
    node = registered(patient)
    with node.serve(silent) as first, ThreadPoolExecutor() as pool:
        waiting = pool.submit(patient.call, "GET", f"/sep/{node.node_id}/x")
        until(lambda: node.envelopes, "the request is at the node")
        first.client.disconnect()
        assert first.lost.wait(10)
        with node.connect() as second:
            (envelope,) = node.envelopes
            reply = node.reply(envelope, HttpResponse(200, (), b"late"))
            second.publish(response_topic(node.node_id, envelope), encode_envelope(reply), 0)
            assert waiting.result().text == "late"


# case CL4
def test_a_gateway_that_is_killed_ends_its_requests(tmp_path: Path, patient: Cloud) -> None:
    environ = {
        "HECATE_GATEWAY_CLOUD_URL": patient.url,
        "HECATE_GATEWAY_CLOUD_MQTT_PORT": str(patient.mqtt_port),
    }
    gateway = Gateway(tmp_path, HECATE_GATEWAY_BROKER_ANONYMOUS="loopback", **environ)
    with gateway.program, ThreadPoolExecutor() as pool:
        gateway.until_ready()
        gateway.program.process.send_signal(SIGSTOP)  # so that it does not answer before its end
        url = f"/sep/{gateway.node_id}/healthz"
        waiting = pool.submit(patient.call, "GET", url)
        until(lambda: open_requests(patient) == 1, "the request is open")
        gateway.program.kill()
        assert waiting.result().status_code == 502


# case CL4
def test_a_silent_gateway_is_known_to_be_gone_before_its_callers_are() -> None:
    broker_grace, tick_s = 1.5, 1.0
    assert broker_grace * KEEP_ALIVE_S + tick_s < SignallingSettings().timeout_s
