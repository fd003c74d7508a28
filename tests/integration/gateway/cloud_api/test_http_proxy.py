"""A gateway that reaches its cloud through an HTTP proxy only."""

import asyncio
import ssl
from pathlib import Path

import httpx
import pytest

from broker import AllowAll, Broker, Listener
from gateway.cloud_api.http_proxy import read_proxy
from gateway.uplink.connection import CLOSE_PING_S, CloudConnection, ConnectionCallbacks
from gateway.uplink.endpoint import Endpoint
from settings.secret import Secret
from tests.http_proxy import HttpProxy
from tests.integration.broker.access.certificates import Authority
from tests.mqtt_peer import Mqtt
from tests.programs import HECATE, run, until
from tests.system import Cloud, Gateway


# case G20
@pytest.mark.parametrize("source", ["setting", "environment"])
def test_all_ways_to_the_cloud_go_through_a_proxy(
    cloud: Cloud, tmp_path: Path, source: str
) -> None:
    port = cloud.url.rpartition(":")[2]
    with HttpProxy("me:top secret") as proxy:
        url = f"http://me:top%20secret@127.0.0.1:{proxy.port}"
        said = {"HECATE_GATEWAY_CLOUD_PROXY": url} if source == "setting" else {"HTTP_PROXY": url}
        environ = {
            **cloud.environ(),
            "HECATE_GATEWAY_CLOUD_URL": f"http://cloud.invalid:{port}",
            "HECATE_GATEWAY_BROKER_ANONYMOUS": "loopback",
            "NO_PROXY": "",
            **said,
        }
        with Gateway(tmp_path, **environ) as gateway:
            gateway.until_ready()
            assert f"CONNECT cloud.invalid:{cloud.mqtt_port} HTTP/1.1" in proxy.requests
            assert gateway.status()["sep"]["mqtt"] == (
                f"MQTT 5 over WebSocket over TCP through proxy 127.0.0.1:{proxy.port}"
            )
            token = cloud.log_in(gateway.rpc("getEdgeIdToken")["id_token"])
            account = gateway.rpc("associateAccount", token)["accountId"]
            with (
                Mqtt(cloud.mqtt_port, account, token, "app") as app,
                Mqtt(gateway.mqtt_port) as person,
            ):
                assert app.subscribe(f"nodes/{gateway.node_id}/#")
                payload = bytes(range(256)) * 400
                for number in range(20):
                    person.publish("devices/x/t", b"%d" % number)
                person.publish("devices/x/large", payload)
                until(lambda: len(app.messages) == 21, "all is in the cloud")
                assert bytes(app.messages[20].payload) == payload
            answer = httpx.get(f"{cloud.url}/sep/{gateway.node_id}/healthz", trust_env=False)
            assert answer.status_code == 200
            if source == "setting":
                open_bep(cloud, gateway)
                assert f"CONNECT 127.0.0.1:{cloud.relay_port} HTTP/1.1" in proxy.requests
            assert "secret" not in "".join(gateway.program.lines)


def open_bep(cloud: Cloud, gateway: Gateway) -> None:
    run((*HECATE, "deploy", "examples/climate"), HECATE_URL=gateway.url, HECATE_API_KEY=gateway.key)
    expiry = str(int(gateway.status()["sep"]["since"]) + 86_400)
    params = ("", expiry, gateway.node_id, "jsapi://requestBep")
    code = gateway.rpc("getEdgeHmacCode", *params)["edgeHmacCode"]
    base = "/api/climate/v1"
    url = f"{cloud.url}/sep/{gateway.node_id}{base}/bep?hmac={code}"
    href = httpx.get(url, timeout=30, trust_env=False).raise_for_status().json()["href"]
    answer = httpx.get(f"{href}{base}/rooms/attic", timeout=30, trust_env=False)
    assert answer.status_code in (200, 404)


# case G20
def test_mqtt_over_secure_websocket_through_a_proxy(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(*authority.sign("server"))
    client = ssl.create_default_context(cafile=str(authority.file))
    payload = bytes(range(256)) * 100

    async def run() -> None:
        policy = AllowAll()
        listener = Listener(port=0, tls=server, websocket=True, plain_too=True)
        broker = Broker([listener], policy, policy, sys_interval_s=0)
        with HttpProxy() as proxy:
            async with broker:
                (address,) = broker.addresses
                assert isinstance(address, tuple)
                way = read_proxy(f"http://127.0.0.1:{proxy.port}")
                heard: list[bytes] = []
                connection = CloudConnection(
                    "n" * 56,
                    Secret("x"),
                    Endpoint("127.0.0.1", int(address[1]), lambda: client, way),
                    ConnectionCallbacks(lambda _, message: heard.append(message.payload)),
                )
                await connection.open()
                assert await connection.subscribe(["a/#"]) == [""]
                for number in range(50):
                    connection.publish("a/b", payload[number:], qos=1)
                async with asyncio.timeout(20):
                    while len(heard) < 50:  # noqa: ASYNC110  # of a callback
                        await asyncio.sleep(0.01)
                assert heard == [payload[number:] for number in range(50)]
                await connection.close()
            assert proxy.requests == [f"CONNECT 127.0.0.1:{address[1]} HTTP/1.1"]

    asyncio.run(run())


# case G20
def test_a_proxy_that_refuses_is_named_without_its_password(cloud: Cloud, tmp_path: Path) -> None:
    with HttpProxy("me:right") as proxy:
        url = f"http://me:wrong@127.0.0.1:{proxy.port}"
        with Gateway(tmp_path, **cloud.environ(), HECATE_GATEWAY_CLOUD_PROXY=url) as gateway:
            sep = gateway.status()["sep"]
            assert sep["state"] != "online"
            assert "407" in sep["error"]
            assert "wrong" not in "".join(gateway.program.lines)


# case G20
def test_loopback_is_reached_without_the_proxy_of_the_environment(
    cloud: Cloud, tmp_path: Path
) -> None:
    nowhere = {"HTTP_PROXY": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"}
    with Gateway(tmp_path, **cloud.environ(), **nowhere) as gateway:
        gateway.until_ready()
        assert gateway.status()["sep"]["mqtt"] == "MQTT 5 over TCP"


# case N11
@pytest.mark.slow
def test_a_loss_behind_a_proxy_is_noticed_soon_by_a_node_on_which_others_depend() -> None:
    async def run() -> None:
        policy = AllowAll()
        listener = Listener(port=0, websocket=True, plain_too=True)
        with HttpProxy() as proxy:
            async with Broker([listener], policy, policy, sys_interval_s=0) as broker:
                (address,) = broker.addresses
                assert isinstance(address, tuple)
                way = read_proxy(f"http://127.0.0.1:{proxy.port}")
                endpoint = Endpoint("127.0.0.1", int(address[1]), None, way)
                both = [CloudConnection(name, Secret("x"), endpoint) for name in ("watched", "not")]
                for connection in both:
                    await connection.open()
                watched, other = both
                watched.watch(closely=True)
                await asyncio.sleep(2 * CLOSE_PING_S + 1.0)
                assert not watched.closed.done()  # the broker answers
                proxy.hold()
                end = await asyncio.wait_for(watched.closed, 30)
                assert "no answer" in end.why
                assert not other.closed.done()  # it would take twice its keep-alive
                proxy.mend()
                for connection in both:
                    await connection.close()

    asyncio.run(run())
