"""Requests of the cloud for a member while its supernode dies, and what a supernode can read."""

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.http_proxy import close
from tests.integration.gateway.cluster.members import ask, clouded_cluster, holders
from tests.integration.gateway.nodes import Node
from tests.integration.gateway.services.world import write_service
from tests.ports import hold_port
from tests.programs import HECATE, run, until
from tests.system import Cloud

CODE = """
import asyncio

counts = {"GET": 0, "POST": 0}

@service.post("/work")
async def work(request):
    counts["POST"] += 1
    await asyncio.sleep(20)

@service.get("/work")
async def look(request):
    counts["GET"] += 1
    if counts["GET"] == 1:
        await asyncio.sleep(20)
    return {"count": counts["GET"]}

@service.post("/echo")
async def echo(request):
    return await request.body()

@service.get("/counts")
async def tell(request):
    return counts
"""
WORK = "/api/worker/v1/work"
BODY = b"what only the member may read" * 8


def deploy(folder: Path, node: Node) -> None:
    toml = 'expose = "public"\n'
    code = write_service(folder / "worker", CODE, name="worker", toml=toml)
    run((*HECATE, "deploy", str(code)), HECATE_URL=node.url, HECATE_API_KEY=node.key)


def counts(node: Node) -> dict[str, int]:
    found: dict[str, int] = node.call("GET", "/api/worker/v1/counts")
    return found


# case N19
@pytest.mark.slow
def test_requests_in_flight_when_the_supernode_dies(tmp_path: Path) -> None:
    with clouded_cluster(tmp_path, [{}, {}, {}]) as (cloud, nodes), ThreadPoolExecutor() as pool:
        first, second, third = nodes
        deploy(tmp_path, third)
        posted = pool.submit(ask, cloud, third, WORK, "POST")
        looked = pool.submit(ask, cloud, third, WORK, "GET")
        until(lambda: counts(third) == {"GET": 1, "POST": 1}, "the member has both")
        first.program.kill()
        until(lambda: holders(cloud, [second, third]) == {second.node_id}, "a take-over", 30)
        answer: httpx.Response = posted.result()
        assert answer.status_code == 502
        assert f"cannot say whether node {third.node_id} has carried out" in answer.text
        again: httpx.Response = looked.result()
        assert (again.status_code, again.json()) == (200, {"count": 2})
        assert counts(third)["POST"] == 1
        first.start()
        until(
            lambda: holders(cloud, nodes) == {second.node_id}, "the old supernode is a member", 30
        )


class Recorder:
    """Passes connections on to a port, and keeps what they carry."""

    def __init__(self) -> None:
        self._server = hold_port()
        self.port = int(self._server.getsockname()[1])
        self.target = 0
        self.seen = bytearray()
        threading.Thread(target=self._accept, daemon=True).start()

    def end(self) -> None:
        close(self._server)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
                upstream = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                return
            for source, sink in ((client, upstream), (upstream, client)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while received := source.recv(65536):
                self.seen += received
                sink.sendall(received)
        except OSError:
            pass
        close(sink)


@pytest.mark.slow
def test_the_holder_of_the_sep_reads_no_body(tmp_path: Path) -> None:
    recorder = Recorder()

    def aim(cloud: Cloud) -> None:
        recorder.target = cloud.mqtt_port

    sniffed = {"HECATE_GATEWAY_CLOUD_MQTT_PORT": str(recorder.port)}
    with clouded_cluster(tmp_path, [sniffed, {}], aim) as (cloud, (holder, member)):
        deploy(tmp_path, member)
        url = f"{cloud.url}/sep/{member.node_id}/api/worker/v1/echo"
        answer = httpx.post(url, content=BODY, trust_env=False, timeout=30)
        assert (answer.status_code, answer.content) == (200, BODY)
        seen = bytes(recorder.seen)
        topic = f"$hec/sep/{holder.node_id}/{member.node_id}/"
        assert topic.encode() + b"request" in seen  # it has passed here, without TLS around it
        assert topic.encode() + b"response/" in seen
        assert BODY[:16] not in seen
        assert b"/api/worker" not in seen
    recorder.end()
