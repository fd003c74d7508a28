"""Requests, answers, forms and files, as scripts see them."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.microservice.javascript.runtime import Script, exchange, handler, run

JSON = {"content-type": "application/json"}
ECHO = handler(
    "response.end(JSON.stringify({url: request.url, method: request.method, body: request.body,"
    " headers: request.headers, authorization: request.authorization,"
    " type: typeof request.body}));"
)


def test_a_request_has_url_method_headers_and_authorization(tmp_path: Path) -> None:
    async def use(running: Script) -> None:
        got = (
            await running.call(
                "PUT", "/items%2F1?x=1&y=%20", headers={"Authorization": "Bearer T", "X-Two": "2"}
            )
        ).json()
        assert got["url"] == "/items%2F1?x=1&y=%20"
        assert got["method"] == "PUT"
        assert got["authorization"] == "Bearer T"
        assert got["headers"]["x-two"] == "2"
        assert (await running.get("/")).json()["url"] == "/"

    run(tmp_path, ECHO, use)


@pytest.mark.parametrize(
    ("kind", "is_passed"),
    [
        ("application/json", True),
        ("Application/JSON; charset=utf-8", True),
        ("application/cloudevents+json", True),
        ("text/plain", False),
        ("application/x-www-form-urlencoded", False),
        ("application/jsonp", False),
        ("", False),
    ],
)
def test_only_a_json_body_is_passed(kind: str, is_passed: bool, tmp_path: Path) -> None:
    async def use(running: Script) -> None:
        headers = {"content-type": kind} if kind else {}
        got = (await running.call("POST", "/", b'{"a": "\xc3\xa9\\u0000"', headers)).json()
        assert got["type"] == ("string" if is_passed else "undefined")
        if is_passed:  # as it came: it need not even be JSON
            assert got["body"] == '{"a": "é\\u0000"'

    run(tmp_path, ECHO, use)


def test_a_body_has_a_limit_and_any_text(tmp_path: Path) -> None:
    async def use(running: Script) -> None:
        text = '\u0000😀\u2028"\\' + "ä" * 300_000
        body = json.dumps(text, ensure_ascii=False).encode()
        got = (await running.call("POST", "/", body, JSON)).json()
        assert json.loads(got["body"]) == json.loads(body)
        refused = await running.call("POST", "/", b"1" * (1024 * 1024 + 1), JSON)
        assert refused.status == 413

    run(tmp_path, ECHO, use)


def test_numbers_up_to_2_to_the_53_arrive_exactly(tmp_path: Path) -> None:  # case S7
    async def use(running: Script) -> None:
        for number in (2**31, 2**32 + 1, 1_764_460_800_000, 2**53 - 1, -(2**53) + 1):
            assert (await running.post("/", number)).json() == [number, number + 0]

    code = "const n = JSON.parse(request.body); response.end(JSON.stringify([n, n + 0]));"
    run(tmp_path, handler(code), use)


def test_every_request_has_a_context_of_its_own(tmp_path: Path) -> None:
    async def use(running: Script) -> None:
        answers = [await running.get(f"/{i}") for i in range(3)]
        assert [one.json()["count"] for one in answers] == [1, 1, 1]
        randoms = {one.json()["random"] for one in answers}
        assert len(randoms) == 3, "children repeat the random numbers of their parent"

    code = "let count = 0;\nconst random = Math.random;\n" + handler(
        "globalThis.leak = (globalThis.leak || 0) + 1; count++;"
        "response.end(JSON.stringify({count: Math.max(count, leak), random: random()}));"
    )
    run(tmp_path, code, use)


def test_objects_are_extensible_and_methods_need_no_this(tmp_path: Path) -> None:
    async def use(running: Script) -> None:
        answer = await running.get("/x")
        assert (answer.status, answer.text) == (418, "detached")
        assert answer.headers["x-a"] == "1"

    code = """
    request._parsedUrl = request.params = request.next = context.mine = response.locals = {};
    context.edge.clusterDiscovery = () => 1; context.edge = Object.assign({}, context.edge);
    request.url = '/changed'; request.originalUrl = request.url;
    global.context = context; this.anything = 1;
    const { setHeader, end, writeMimeFile } = response; const { handleFormRequest } = request;
    response.statusCode = 418;
    if (setHeader('X-A', 1) !== true || typeof handleFormRequest !== 'function') throw Error('no');
    end('detached');
    """
    # in the handler of a bundle, this is the global object
    run(tmp_path, f"mimikModule.exports = function (context, request, response) {{{code}}};", use)


def test_answers(tmp_path: Path) -> None:
    async def use(running: Script) -> None:
        plain = await running.get("/plain")
        assert plain.headers["content-type"] == "application/json"
        assert plain.headers["content-length"] == str(len("é".encode()))
        assert plain.text == "é"
        empty = await running.get("/empty")
        assert (empty.status, empty.body, "content-type" in empty.headers) == (204, b"", False)
        assert (await running.get("/object")).json() == {"a": [1]}
        assert (await running.get("/bytes")).body == bytes(range(256)) * 1024
        big = await running.get("/big")
        assert big.text == "ab😀" * 300_000
        cookies = await running.get("/headers")
        assert cookies.headers["set-cookie"] == "b=2"
        assert "x-evil" not in cookies.headers
        twice = await running.get("/twice")
        assert (twice.text, twice.is_complete) == ("first", True)
        assert (await running.get("/status")).status == 500
        for path in ("/none", "/nothing"):
            none = await running.get(path)
            assert (none.status, none.body, "content-length" in none.headers) == (204, b"", False)

    code = """
    const end = {
      '/plain': () => response.end('é'),
      '/empty': () => { response.statusCode = 204; response.end(); },
      '/object': () => response.end({ a: [1] }),
      '/bytes': () => response.end(new Uint8Array(256 * 1024).map((_, i) => i)),
      '/big': () => response.end('ab😀'.repeat(300000)),
      '/headers': () => { response.setHeader('Set-Cookie', ['a=1', 'b=2']);
        if (response.setHeader('X-Evil', 'a\\r\\nb: c') !== false) throw Error('accepted');
        if (response.setHeader('X Evil', '1') !== false) throw Error('accepted');
        response.end('x'); },
      '/twice': () => { response.end('first'); response.end('second'); response.write('third'); },
      '/none': () => { response.statusCode = 204; response.end('no body is allowed here'); },
      '/nothing': () => { response.statusCode = 204; response.write('nor here'); response.end(); },
      '/status': () => { response.statusCode = 'none'; response.end(); },
    }[request.url];
    end();
    """
    run(tmp_path, handler(code), use)


@pytest.mark.parametrize("end", ["end()", "end('')", "end(null)", "end(undefined, () => {})"])
def test_an_answer_without_a_body_has_type_and_length(end: str, tmp_path: Path) -> None:
    async def use(running: Script) -> None:
        answer = await running.get()
        assert (answer.status, answer.body) == (302, b"")
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["content-length"] == "0"

    run(tmp_path, handler(f"response.statusCode = 302; response.{end};"), use)


def test_short_bytes_have_a_length(tmp_path: Path) -> None:
    async def use(running: Script) -> None:
        answer = await running.get()
        assert (answer.body, answer.headers["content-length"]) == (b"\x00\xff", "2")

    run(tmp_path, handler("response.end(new Uint8Array([0, 255]));"), use)


def test_callbacks_of_a_stream_are_called(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def use(running: Script) -> None:
        assert (await running.get()).text == "ab"
        assert "ended" in caplog.text

    code = "response.write('a', 'utf8', () => response.end('b', () => console.log('ended')));"
    with caplog.at_level("INFO"):
        run(tmp_path, handler(code), use)


def test_a_last_handler_of_a_router_finds_a_stream(tmp_path: Path) -> None:
    async def use(running: Script) -> None:
        answer = await running.get()
        assert answer.json() == [True, 0, ["url", "method", "headers", "handleFormRequest"]]

    code = """
    request.unpipe(); request.resume();
    const keys = Object.keys(request).filter((key) => request[key] !== undefined);
    response.end([request.complete, request.listeners('data').length, keys]);
    """
    run(tmp_path, handler(code), use)


def test_an_answer_streams(tmp_path: Path) -> None:
    async def use(running: Script) -> None:
        gone, first = asyncio.Event(), asyncio.Event()
        got: list[bytes] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            async def note(event: Any) -> None:
                if event.get("body"):
                    got.append(event["body"])
                    first.set()
                await send(event)

            await running.app(scope, receive, note)

        scope = {
            "type": "http", "method": "GET", "path": "/", "raw_path": b"/", "query_string": b"",
            "headers": [],
        }  # fmt: skip
        asking = asyncio.create_task(exchange(app, scope, [], gone))
        await first.wait()
        assert got == [b"one"], "the first piece waits for the end"
        answer = await asking
        assert (answer.body, answer.is_complete) == (b"onetwo", True)

    code = (
        "response.write('one'); setTimeout(() => { response.write('two'); response.end(); }, 50);"
    )
    run(tmp_path, handler(code), use)


def test_an_answer_that_breaks_off_is_not_complete(tmp_path: Path) -> None:
    async def use(running: Script) -> None:
        answer = await running.get()
        assert (answer.status, answer.text, answer.is_complete) == (200, "half", False)
        assert running.counters.failed == 1

    run(tmp_path, handler("response.write('half'); null.x;"), use)


def test_an_answer_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = 2 * 1024 * 1024
    monkeypatch.setattr("microservice.javascript.exchange.RESPONSE_LIMIT_BYTES", limit)

    async def use(running: Script) -> None:
        answer = await running.get()
        assert not answer.is_complete
        assert limit - 100_000 < len(answer.body) <= limit

    run(tmp_path, handler("const s = 'x'.repeat(1 << 20); for (;;) response.write(s);"), use)


def test_work_after_the_answer_is_done_while_calls_are_pending(tmp_path: Path) -> None:
    async def use(running: Script) -> None:
        assert (await running.get()).text == "answered"
        assert [one[0] for one in running.broker.messages] == ["a", "b"]

    code = """
    response.end('answered');
    await context.mqtt.publish('a', '1');
    await context.mqtt.publish('b', '2');
    setInterval(() => {}, 1000);
    """
    run(tmp_path, handler(code), use)


# Forms --------------------------------------------------------------------------------------------

BOUNDARY = "----x"
PARTS = (
    ("note", None, "héllo".encode()),
    ("photo", "p.jpg", bytes(range(256)) * 600),
    ("empty", None, b""),
    ("skipped", "s.bin", b"s" * 70_000),
    ("last", None, b"end"),
)


def form(parts: Any = PARTS) -> bytes:
    whole = b""
    for key, name, value in parts:
        file = f'; filename="{name}"' if name else ""
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{key}"{file}\r\n\r\n'
        whole += head.encode() + value + b"\r\n"
    return whole + f"--{BOUNDARY}--\r\n".encode()


FORM = handler("""
    const seen = [];
    const { handleFormRequest } = request;
    handleFormRequest({
      found: (key, filename) => {
        seen.push(['found', key, filename]);
        if (key === 'photo') return { action: 'store', path: 'in/photo.jpg' };
        if (key === 'skipped') return { action: 'skip' };
        if (key === request.url.slice(1)) return { action: 'abort' };
        return key === 'last' ? { action: 'special' } : { action: 'get' };
      },
      get: (key, value) => seen.push(['get', key, value]),
      special: (key, value) => seen.push(['special', key, value]),
      store: (path, size) => seen.push(['store', path, size]),
    });
    response.end(JSON.stringify(seen));  // all of it has happened by now
""")


@pytest.mark.parametrize("piece", [1000, 7, 1 << 20])
def test_a_form_is_walked_part_by_part(piece: int, tmp_path: Path) -> None:
    async def use(running: Script) -> None:
        body = form(PARTS if piece > 7 else PARTS[:1] + PARTS[2:3] + PARTS[4:])
        chunks = [body[at : at + piece] for at in range(0, len(body), piece)]
        headers = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
        answer = await running.call("POST", "/", headers=headers, chunks=chunks)
        seen = answer.json()
        texts = "".join(one[2] for one in seen if one[:2] == ["get", "note"])
        assert texts == "héllo"
        assert ["get", "empty", ""] in seen
        assert ["special", "last", "end"] in seen
        assert [one[1] for one in seen if one[0] == "get" and one[1] != "note"] == ["empty"]
        if piece > 7:
            assert ["found", "photo", "p.jpg"] in seen
            assert ["store", "in/photo.jpg", 256 * 600] in seen
            assert (tmp_path / "data/files/in/photo.jpg").read_bytes() == bytes(range(256)) * 600

    run(tmp_path, FORM, use)


def test_names_in_a_form_are_utf8(tmp_path: Path) -> None:
    async def use(running: Script) -> None:
        body = form((("größe", None, b"1"), ("日", "日 é.jpg", b"2")))
        headers = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
        seen = (await running.call("POST", "/", body, headers)).json()
        assert [one[1:] for one in seen if one[0] == "found"] in (
            [["größe"], ["日", "日 é.jpg"]],
            [["größe", None], ["日", "日 é.jpg"]],
        )

    run(tmp_path, FORM, use)


def test_a_form_can_be_aborted(tmp_path: Path) -> None:
    async def use(running: Script) -> None:
        headers = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
        answer = await running.call("POST", "/note", form(), headers)
        assert answer.json() == [["found", "note"]] or answer.json() == [["found", "note", None]]

    run(tmp_path, FORM, use)


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        ("application/x-www-form-urlencoded", b"note=a%20b&last=", [["get", "note", "a b"]]),
        ("text/plain", b"note=1", []),
        ("", b"", []),
    ],
)
def test_other_bodies_as_forms(kind: str, body: bytes, expected: Any, tmp_path: Path) -> None:
    async def use(running: Script) -> None:
        answer = await running.call("POST", "/", body, {"content-type": kind} if kind else {})
        assert [one for one in answer.json() if one[0] == "get"] == expected

    run(tmp_path, FORM, use)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (f"multipart/form-data; boundary={BOUNDARY}", b"no form"),
        ("multipart/form-data", b"no boundary"),
        (f"multipart/form-data; boundary={BOUNDARY}", f"--{BOUNDARY}\r\n".encode() + b"a" * 20_000),
    ],
)
def test_a_malformed_form_is_an_error_of_the_script(kind: str, body: bytes, tmp_path: Path) -> None:
    async def use(running: Script) -> None:
        answer = await running.call("POST", "/", body, {"content-type": kind})
        assert answer.text == "cannot read form", answer.text

    code = """
    try { request.handleFormRequest({ found: () => ({ action: 'get' }) }); response.end('read'); }
    catch (e) { response.end(e.message.slice(0, 16)); }
    """
    run(tmp_path, handler(code), use)


@pytest.mark.parametrize("path", ["../out", "/etc/passwd", "a/../../out", "", "..", "a\\0b"])
def test_a_form_stores_nothing_outside(path: str, tmp_path: Path) -> None:
    async def use(running: Script) -> None:
        headers = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
        answer = await running.call("POST", "/", form([("f", "f", b"evil")]), headers)
        assert "cannot use file" in answer.text
        assert not (tmp_path / "out").exists()

    code = f"""
    try {{ request.handleFormRequest({{ found: () => ({{ action: 'store', path: '{path}' }}) }}); }}
    catch (e) {{ return response.end(e.message); }}
    response.end('stored');
    """
    run(tmp_path, handler(code), use)


def test_files_are_answered_with_their_type(tmp_path: Path) -> None:
    async def use(running: Script) -> None:
        assert (await running.post("/", {})).text == "saved"
        got = await running.get("/a/b.png")
        assert got.headers["content-type"] == "image/png"
        assert got.headers["content-length"] == "300000"
        assert got.body == b"abc" * 100_000
        absolute = await running.get(str(tmp_path / "data/files/a/b.png"))
        assert absolute.body == got.body
        missing = await running.get("/none")
        assert (missing.status, missing.text) == (404, "cannot read 'none': there is no such file")

    code = """
    if (request.method === 'POST') {
      context.storage.saveFile('a/b.png', btoa('abc'.repeat(100000)));
      return response.end('saved');
    }
    const path = request.url.replace(/^\\/(?=a\\/|none)/, '');
    try { response.writeMimeFile(path, 'image/png'); }
    catch (e) { response.statusCode = 404; response.end(e.message); }
    """
    run(tmp_path, handler(code), use)
