"""A script reaches HTTP, storage, MQTT, events and the edge through its context."""

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from microservice.errors import ServiceError
from tests.aio import until
from tests.integration.microservice.javascript.runtime import Script, handler, run, script

Log = pytest.LogCaptureFixture


# HTTP ---------------------------------------------------------------------------------------------


class Gateway:
    """The gateway's end of a container's socket: answers with what it was sent."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            event = await receive()
            body += event.get("body", b"")
            if not event.get("more_body"):
                break
        headers = {n.decode(): v.decode("latin-1") for n, v in scope["headers"]}
        query = scope["query_string"].decode()
        target = scope["raw_path"].decode() + (f"?{query}" if query else "")
        self.seen.append({"method": scope["method"], "target": target, "headers": headers})
        status, reply = 200, json.dumps(self.seen[-1] | {"body": body.decode()}).encode()
        path = "/" + target.split("/", 3)[-1]
        if path.startswith("/status/"):
            status = int(path.rsplit("/", 1)[1])
        elif path == "/hang":
            await asyncio.sleep(60)
        elif path == "/binary":
            reply = bytes(range(256)) * 400
        elif path == "/big":
            reply = b"x" * (9 * 1024 * 1024)
        elif path == "/split":
            reply = "é😀".encode() * 50_000
        start = {"type": "http.response.start", "status": status, "headers": [(b"x-g", b"1")]}
        await send(start)
        for at in range(0, len(reply), 10_001):
            piece = {"type": "http.response.body", "body": reply[at : at + 10_001]}
            await send(piece | {"more_body": True})
        await send({"type": "http.response.body", "body": b""})


@contextlib.asynccontextmanager
async def gateway(path: Path) -> AsyncIterator[Gateway]:
    made = Gateway()
    config = uvicorn.Config(made, uds=str(path), log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    try:
        yield made
    finally:
        server.should_exit = True
        server.force_exit = True
        await serving


CALL = handler("""
    const options = JSON.parse(request.body);
    const pieces = [];
    const done = (kind) => (result) => {
      if (result.done === false) return void pieces.push(result.data.length);
      response.end(JSON.stringify({ kind, result, pieces }));
    };
    context.http.request({ ...options, success: done('success'), error: done('error') });
""")


def call(directory: Path, options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a script gets for a call, and what the gateway has seen of it."""
    got: list[dict[str, Any]] = []
    seen: list[dict[str, Any]] = []

    async def main() -> None:
        socket = directory / "g.sock"
        async with gateway(socket) as there:
            async with script(directory, CALL, gateway_socket=str(socket)) as running:
                answer = await running.post("/", options)
                assert answer.status == 200, answer.text
                got.append(answer.json())
            seen.extend(there.seen)

    asyncio.run(main())
    return got[0], seen[0] if seen else {}


def test_a_call_without_a_scheme_brings_its_answer(tmp_path: Path) -> None:
    got, seen = call(tmp_path, {"url": "127.0.0.1:8083/mcm/v1?a=1", "headers": {"x-mine": "2"}})
    assert got["kind"] == "success"
    assert got["result"]["status"] == 200
    assert got["result"]["headers"]["x-g"] == "1"
    assert seen["target"] == "http://127.0.0.1:8083/mcm/v1?a=1"
    assert (seen["method"], seen["headers"]["x-mine"]) == ("GET", "2")
    assert "content-type" not in seen["headers"]


def test_a_url_may_have_spaces_and_other_letters(tmp_path: Path) -> None:
    got, seen = call(tmp_path, {"url": "h/größe 1?q=日%20x&r=[1]#y"})
    assert got["kind"] == "success", got
    assert seen["target"] == "http://h/gr%C3%B6%C3%9Fe%201?q=%E6%97%A5%20x&r=[1]"


def test_a_call_without_a_url_is_an_error(tmp_path: Path) -> None:
    got, seen = call(tmp_path, {"type": "GET"})
    assert got["kind"] == "error"
    assert "names no host" in got["result"]["message"]
    assert not seen


@pytest.mark.parametrize(
    ("data", "body"),
    [("text é", "text é"), ({"a": [1]}, '{"a":[1]}'), ("x" * 200_000, "x" * 200_000)],
)
def test_data_is_sent_as_json_by_default(data: Any, body: str, tmp_path: Path) -> None:
    got, seen = call(tmp_path, {"url": "http://h/x", "type": "POST", "data": data})
    assert json.loads(got["result"]["data"])["body"] == body
    assert seen["headers"]["content-type"] == "application/json"


def test_a_given_content_type_stays(tmp_path: Path) -> None:
    headers = {"Content-Type": "text/csv", "Content-Length": "999", "Host": "evil"}
    _, seen = call(tmp_path, {"url": "http://h/x", "type": "PUT", "data": "a", "headers": headers})
    assert (seen["method"], seen["headers"]["content-type"]) == ("PUT", "text/csv")
    assert (seen["headers"]["content-length"], seen["headers"]["host"]) == ("1", "h")


def test_another_status_is_an_error_with_its_content(tmp_path: Path) -> None:
    got, _ = call(tmp_path, {"url": "http://h/status/404"})
    assert got["kind"] == "error"
    assert got["result"]["status"] == 404
    assert json.loads(got["result"]["content"])["target"].endswith("/status/404")
    assert got["result"]["message"]


@pytest.mark.parametrize(
    ("authorization", "expected"),
    [
        ("Bearer T", {"authorization": "Bearer T"}),
        ("bearer T\r\napiKey: k", {"authorization": "bearer T", "apikey": "k"}),
        (
            "\r\nx-mimik-port: 8100\r\nx-mimik-routing: eyJhIjoxfQ==",
            {"x-mimik-port": "8100", "x-mimik-routing": "eyJhIjoxfQ=="},
        ),
    ],
)
def test_headers_inside_the_authorization(
    authorization: str, expected: dict[str, str], tmp_path: Path
) -> None:
    got, seen = call(tmp_path, {"url": "http://h/x", "authorization": authorization})
    assert got["kind"] == "success"
    ours = ("authorization", "apikey", "x-mimik")
    shown = {name: value for name, value in seen["headers"].items() if name.startswith(ours)}
    assert shown == expected


@pytest.mark.parametrize(
    "options",
    [
        {"authorization": "a\r\nHost: evil"},
        {"authorization": "a\r\n\r\nGET / HTTP/1.1"},
        {"authorization": "a\nTransfer-Encoding: chunked"},
        {"headers": {"x-a": "b\r\nx-evil: 1"}},
        {"headers": {"x-a: b\r\nx-evil": "1"}},
        {"authorization": "a\r\nx-mimik-port: 1\x00"},
    ],
)
def test_no_other_header_is_smuggled(options: dict[str, Any], tmp_path: Path) -> None:
    got, seen = call(tmp_path, {"url": "http://h/x"} | options)
    assert got["kind"] == "error"
    assert "cannot send" in got["result"]["message"]
    assert not seen


def test_text_that_is_cut_inside_a_character_arrives_whole(tmp_path: Path) -> None:
    got, _ = call(tmp_path, {"url": "http://h/split"})
    assert got["result"]["data"] == "é😀" * 50_000


def test_a_stream_brings_pieces(tmp_path: Path) -> None:
    got, _ = call(tmp_path, {"url": "http://h/split", "mode": "stream"})
    assert len(got["pieces"]) > 3
    assert sum(got["pieces"]) == len("é😀".encode("utf-16-le")) // 2 * 50_000
    assert got["result"]["done"] is True


def test_an_answer_that_is_too_long_is_an_error(tmp_path: Path) -> None:
    got, _ = call(tmp_path, {"url": "http://h/big"})
    assert got["kind"] == "error"
    assert "outputFile" in got["result"]["message"]


def test_an_answer_goes_into_a_file(tmp_path: Path) -> None:
    got, _ = call(tmp_path, {"url": "http://h/binary", "outputFile": "in/b.bin"})
    assert got["kind"] == "success"
    assert (tmp_path / "data/files/in/b.bin").read_bytes() == bytes(range(256)) * 400
    outside, _ = call(tmp_path, {"url": "http://h/binary", "outputFile": "../b.bin"})
    assert "cannot use file" in outside["result"]["message"]


def test_a_silent_server_is_an_error_in_time(tmp_path: Path) -> None:
    got, _ = call(tmp_path, {"url": "http://h/hang", "socketTimeout": 50})
    assert "nothing arrived in 0.05 s" in got["result"]["message"]


def test_a_container_without_a_gateway_gets_an_error(tmp_path: Path) -> None:
    async def use(running: Script) -> None:
        answer = await running.get()
        assert "cannot reach h:80" in answer.text

    code = """
    try { await context.http.request({ url: 'http://h/' }); } catch (e) { response.end(e.message); }
    """
    run(tmp_path, handler(code), use)


def test_the_number_of_pending_calls_is_bounded(tmp_path: Path) -> None:
    got: list[str] = []

    async def main() -> None:
        socket = tmp_path / "g.sock"
        async with (
            gateway(socket),
            script(tmp_path, code, gateway_socket=str(socket)) as running,
        ):
            got.append((await running.get()).text)

    code = handler("""
    const call = { url: 'http://h/hang', socketTimeout: 300, success() {} };
    try { for (;;) context.http.request(call); }
    catch (e) { response.end(e.message); }
    """)
    asyncio.run(main())
    assert got == ["cannot call http.request http://h/hang: 64 calls are pending already"]


# Storage ------------------------------------------------------------------------------------------


def test_items_outlive_requests_and_restarts(tmp_path: Path) -> None:
    async def write(running: Script) -> None:
        assert (await running.post("/set", ["k\u0000é", "v\u0000😀"])).text == "null"
        assert (await running.post("/get", ["k\u0000é"])).json() == "v\u0000😀"

    async def read(running: Script) -> None:
        assert (await running.post("/get", ["k\u0000é"])).json() == "v\u0000😀"
        assert (await running.post("/remove", ["k\u0000é"])).text == "null"
        assert (await running.post("/get", ["k\u0000é"])).json() is None

    code = handler("""
    const call = { '/set': 'setItem', '/get': 'getItem', '/remove': 'removeItem' }[request.url];
    response.end(JSON.stringify(context.storage[call](...JSON.parse(request.body)) ?? null));
    """)
    run(tmp_path, code, write)
    run(tmp_path, code, read)


def test_tags_and_iteration(tmp_path: Path) -> None:
    async def use(running: Script) -> None:
        got = (await running.get()).json()
        assert got["all"] == [[f"k{i:03}", str(i)] for i in range(50)]
        assert got["even"] == [f"k{i:03}" for i in range(0, 50, 2)]
        assert got["left"] == 25

    code = handler("""
    const s = context.storage;
    for (let i = 0; i < 50; i++) {
      const key = 'k' + String(i).padStart(3, '0');
      if (i % 2) s.setItem(key, i); else s.setItemWithTag(key, String(i), 'even');
    }
    const all = [], even = []; let left = 0;
    s.eachItem((key, value) => all.push([key, value]));
    s.eachItemByTag('even', (key) => even.push(key));
    s.removeItemsByTag('even');
    s.eachItem(() => left++);
    response.end(JSON.stringify({ all, even, left }));
    """)
    run(tmp_path, code, use)


def test_json_items_are_filtered_sorted_and_paged(tmp_path: Path) -> None:
    async def use(running: Script) -> None:
        assert (await running.get()).json() == [
            [{"ts": 4, "a": {"b": 1}}, {"ts": 2, "a": {"b": 1}}],
            3,
        ]

    code = handler("""
    const s = context.storage;
    for (let ts = 0; ts < 6; ts++) {
      s.setItemWithTag('k' + ts, JSON.stringify({ ts, a: { b: (ts + 1) % 2 } }), 't');
    }
    s.setItemWithTag('bad', 'no json', 't');
    s.getJsonItemsPaginated(0, 2, (items, total) => response.end(JSON.stringify([items, total])), {
      tag: 't', orderBy: [{ jsonPath: '$.ts', order: -1 }],
      filters: [{ jsonPath: '$.a.b', comparisonOperator: '=', value: 1 }],
    });
    """)
    run(tmp_path, code, use)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("s.setItem('', '1')", "a key has 1 to 1024 bytes"),
        ("s.setItem('k', 'x'.repeat(2 << 20))", "use saveFile"),
        ("s.saveFile('../x', '')", "cannot use file"),
        ("s.saveFile('x', 'no base64!')", "not base64"),
        ("for (let i = 0; ; i++) s.setItem('k' + i, 'x'.repeat(5e5))", "store_mib = 1"),
        ("for (let i = 0; ; i++) s.saveFile('f' + i, 'AAAA'.repeat(5e4))", "store_mib = 1"),
    ],
)
def test_storage_has_limits(code: str, expected: str, tmp_path: Path) -> None:
    async def use(running: Script) -> None:
        answer = await running.get()
        assert expected in answer.text

    body = f"const s = context.storage; try {{ {code} }} catch (e) {{ response.end(e.message); }}"
    run(tmp_path, handler(body), use, store_mib=1)


def test_locks_order_what_requests_do(tmp_path: Path) -> None:
    async def use(running: Script) -> None:
        await asyncio.gather(*(running.get() for _ in range(20)))
        assert (await running.get("/read")).text == "20"
        failed = await running.get("/throw")
        assert failed.status == 500
        assert (await running.get()).text == "21"  # the lock is free again

    code = handler("""
    if (request.url === '/read') return response.end(context.storage.getItem('n'));
    context.storage.lockExecute('n', () => {
      const n = Number(context.storage.getItem('n') || 0) + 1;
      if (request.url === '/throw') throw Error('inside');
      context.storage.setItem('n', String(n));
      response.end(String(n));
    });
    """)
    run(tmp_path, code, use)


# MQTT ---------------------------------------------------------------------------------------------

MESSAGE = handler("""
    const message = JSON.parse(request.body);
    if (request.url !== '/mqtt' || request.method !== 'POST') throw Error('no trigger');
    if (message.topic === 'refused') { response.statusCode = 503; return response.end('later'); }
    const base64 = message.payloadBase64 !== undefined;
    await context.mqtt.publish('seen', JSON.stringify(message));
    await context.mqtt.publish('out', base64 ? message.payloadBase64 : message.payload,
      { qos: 0, retain: true, encoding: base64 ? 'base64' : undefined });
    response.end();
""")
TRIGGERS = {"MCM.MQTT_TRIGGERS": "in/+, refused"}


# case S7
@pytest.mark.parametrize(
    "payload",
    [
        b'{"id":1724442618569203714}',
        b"",
        b"\x00\xff\xfe binary",
        "é\u0000\ufeff😀".encode(),
        b"1e400 -0 1.0",
        b' {"a": 1 }\r\n',
        b"x" * 200_000,
    ],
)
def test_payloads_are_forwarded_unharmed(payload: bytes, tmp_path: Path) -> None:
    async def use(running: Script) -> None:
        more = {"qos": 1, "retain": True, "duplicate": True, "user_properties": (("a", "é"),)}
        await running.message("in/1", payload, **more, correlation=b"\xff", response_topic="r")
        (_, seen, *_), forwarded = running.broker.messages
        assert forwarded == ("out", payload, 0, True)
        described = json.loads(seen)
        assert described["topic"] == "in/1"
        assert (described["qos"], described["retain"], described["duplicate"]) == (1, True, True)
        assert described["userProperties"] == [["a", "é"]]
        assert (described["correlationBase64"], described["responseTopic"]) == ("/w==", "r")
        assert ("payload" in described) != ("payloadBase64" in described)
        if "payloadBase64" in described:
            assert base64.b64decode(described["payloadBase64"]) == payload

    run(tmp_path, MESSAGE, use, env=TRIGGERS)


def test_an_answer_goes_to_the_response_topic(tmp_path: Path) -> None:
    async def use(running: Script) -> None:
        await running.message("in/1", b"1", response_topic="responses/x")
        await running.message("in/1", b"1")
        (response,) = running.broker.messages
        assert response[:2] == ("responses/x", b'{"got":1}')

    code = "response.end(JSON.stringify({ got: JSON.parse(JSON.parse(request.body).payload) }));"
    run(tmp_path, handler(code), use, env=TRIGGERS)


def test_settings_and_secrets_are_those_of_now(tmp_path: Path) -> None:
    async def use(running: Script) -> None:
        assert (await running.get()).json() == [{"limit": 30}, "k"]
        running.service.settings.replace({"limit": 40})
        assert (await running.get()).json()[0] == {"limit": 40}

    code = "response.end(JSON.stringify([context.settings, {...context}.secrets.api_key]));"
    run(tmp_path, handler(code), use, settings={"limit": 30}, secrets={"api_key": "k"})


def test_a_message_that_is_not_answered_with_2xx_is_not_handled(tmp_path: Path) -> None:
    async def use(running: Script) -> None:
        with pytest.raises(ServiceError, match="POST /mqtt was answered with 503: later"):
            await running.message("refused", b"")

    run(tmp_path, MESSAGE, use, env=TRIGGERS)


def test_triggers_have_filters_and_qos(tmp_path: Path) -> None:
    async def use(running: Script) -> None:
        triggers = running.service.triggers.messages
        assert [(one.template.text, one.qos) for one in triggers] == [("a/+", 0), ("b/#", 1)]

    triggers = '[{"topic": "a/+", "qos": 0}, "b/#"]'
    run(tmp_path, MESSAGE, use, env={"MCM.MQTT_TRIGGERS": triggers})


def test_nobody_else_may_call_a_trigger(tmp_path: Path) -> None:
    async def use(running: Script) -> None:
        for path in ("/mqtt", "/mqtt/", "/%6dqtt"):
            scope_path = path.replace("%6d", "m")
            assert (await running.post(scope_path, {"topic": "in/1"})).status == 403

    run(tmp_path, MESSAGE, use, env=TRIGGERS)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("await context.mqtt.publish('t', 'x', { qos: 2 })", "qos is not 0 or 1"),
        ("await new Promise((f) => context.mqtt.publish('t', 'x', (e) => f(e)))", "null"),
        ("await context.mqtt.publish('t', new Uint8Array([0, 255]))", "undefined"),
        ("await context.mqtt.publish('t', { a: 1 })", "undefined"),
    ],
)
def test_publishing(code: str, expected: str, tmp_path: Path) -> None:
    async def use(running: Script) -> None:
        assert expected in (await running.get()).text
        if expected == "undefined":
            assert running.broker.messages[0][1] in (b"\x00\xff", b'{"a":1}')

    body = f"let r; try {{ r = {code}; }} catch (e) {{ r = e.message; }} response.end(String(r));"
    run(tmp_path, handler(body), use)


# Events and the edge ------------------------------------------------------------------------------


def test_events_reach_all_websockets(tmp_path: Path) -> None:
    async def use(running: Script) -> None:
        got: dict[int, list[Any]] = {1: [], 2: []}
        gone = asyncio.Event()

        async def client(number: int) -> None:
            events = [{"type": "websocket.connect"}]

            async def receive() -> Any:
                if events:
                    return events.pop()
                await gone.wait()
                return {"type": "websocket.disconnect"}

            async def send(event: Any) -> None:
                got[number].append(event)

            await running.app({"type": "websocket"}, receive, send)

        clients = [asyncio.create_task(client(number)) for number in got]
        await until(lambda: all(got.values()))
        assert (await running.get()).status == 200
        await until(lambda: all(len(one) == 3 for one in got.values()))
        frames = [json.loads(event["text"]) for event in got[1][1:]]
        assert frames == [{"type": "data_sync", "message": '{"a":1}'}, {"type": "", "message": ""}]
        gone.set()
        await asyncio.gather(*clients)

    code = """
    context.dispatchWebSocketEvent({ type: 'data_sync', message: JSON.stringify({ a: 1 }) });
    context.dispatchWebSocketEvent();
    response.end();
    """
    run(tmp_path, handler(code), use, env={"MCM.WEBSOCKET_SUPPORT": "true"})


def test_a_slow_websocket_is_cut_off_and_costs_nothing(tmp_path: Path) -> None:
    async def use(running: Script) -> None:
        sent: list[str] = []
        events = [{"type": "websocket.connect"}]
        stuck = asyncio.Event()

        async def receive() -> Any:
            return events.pop() if events else await asyncio.Future()

        async def send(event: Any) -> None:
            sent.append(event["type"])
            if event["type"] == "websocket.send":
                await stuck.wait()

        client = asyncio.create_task(running.app({"type": "websocket"}, receive, send))
        await until(lambda: sent)
        for _ in range(3):
            assert (await running.get()).status == 200
        stuck.set()
        await client
        assert sent[-1] == "websocket.close"

    code = """
    const event = { type: 'x', message: 'y'.repeat(2e5) };
    for (let i = 0; i < 8; i++) context.dispatchWebSocketEvent(event);
    response.end();
    """
    run(tmp_path, handler(code), use, env={"MCM.WEBSOCKET_SUPPORT": "true"})


def test_env_and_info(tmp_path: Path) -> None:
    async def use(running: Script) -> None:
        env, info = (await running.get()).json()
        assert env == {"A": "1", "MCM.WEBSOCKET_SUPPORT": "false"}
        assert info == {
            "serviceType": "api-probe", "apiRoot": "/api/probe/v1", "httpPort": "8083",
            "nodeId": "a" * 56, "accountId": "account-1",
        }  # fmt: skip

    code = "response.end(JSON.stringify([context.env, context.info]));"
    run(tmp_path, handler(code), use, env={"A": "1", "MCM.WEBSOCKET_SUPPORT": "false"})
