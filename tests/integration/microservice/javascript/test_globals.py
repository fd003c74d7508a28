"""Globals that bundles expect: Duktape, timers, text, URLs."""

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.microservice.javascript.runtime import handler, log_of, script


def evaluate(directory: Path, expression: str) -> Any:
    """Return the JSON value of an expression, awaited in a handler."""

    async def main() -> Any:
        code = handler(f"response.end(JSON.stringify(await ({expression})));")
        async with script(directory, code) as running:
            answer = await running.get()
            assert answer.status == 200, answer.text
            return answer.json()

    return asyncio.run(main())


def test_encodings(tmp_path: Path) -> None:
    got = evaluate(
        tmp_path,
        """[
        Duktape.enc('base64', 'hé'), String(Duktape.dec('base64', 'aMOp')),
        Duktape.enc('hex', 'é'), '' + Duktape.dec('hex', 'c3a9'),
        Duktape.enc('base64', new Uint8Array([0, 255])), typeof Duktape.version,
        Duktape.env.indexOf('linux') >= 0, btoa('ab'), atob('YWI='),
        Array.from(new TextEncoder().encode('aé€😀\\ud800')),
        new TextDecoder().decode(new Uint8Array([0xef, 0xbb, 0xbf, 0x61, 0xe2, 0x82, 0xff])),
        new TextDecoder('utf-16le').decode(new Uint8Array([0x61, 0, 0x3d, 0xd8, 0, 0xde])),
        (() => { const d = new TextDecoder(); return ['e282', 'ac', 'f09f98', '80'].map((h) =>
          d.decode(Uint8Array.fromHex(h), {stream: true})).join('') + d.decode(); })(),
        (() => { try { new TextDecoder('utf-8', {fatal: true}).decode(new Uint8Array([0xff])); }
          catch (e) { return e.name; } })(),
        ]""",
    )
    assert got == [
        "aMOp", "hé", "c3a9", "é", "AP8=", "number", True, "YWI=", "ab",
        list("aé€😀\ufffd".encode()), "a\ufffd\ufffd", "a😀", "€😀", "TypeError",
    ]  # fmt: skip


def test_an_older_engine_encodes_anything(tmp_path: Path) -> None:
    got = evaluate(
        tmp_path,
        """[Duktape.enc('base64', 123), Duktape.enc('hex', new Uint8Array([1]).buffer),
        Duktape.compact('x'), typeof Duktape.fin({}, () => {}), typeof Duktape.info({})]""",
    )
    assert got == ["MTIz", "01", "x", "undefined", "object"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("'%s is %d%%', 'x', '5'", "x is 5%"),
        ("'%s'", "%s"),
        ("'%c%j %o', 'color: red', {a: 'b'}, ['c'], 'more'", '{a: "b"} ["c"] more'),
        ("'%i of %f', 3.9, 1.5", "3 of 1.5"),
        ("'100% sure', 1", "100% sure 1"),
        ("'%d', Symbol('s')", "%d Symbol(s)"),
    ],
)
def test_a_line_of_the_console_has_places_for_values(
    arguments: str, line: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        evaluate(tmp_path, f"console.log({arguments}) ?? 1")
    assert line in [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize(
    "data",
    [b"\x80", b"\xc0\x80", b"\xe0\x80\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xf0\x9f\x98",
     b"a\xe2\x82b", b"\xf1\x80\x80\xe1\x80\xc2", b"\xff\xfe", bytes(range(256))],
)  # fmt: skip
def test_malformed_utf8_is_replaced_as_everywhere(data: bytes, tmp_path: Path) -> None:
    got = evaluate(tmp_path, f"new TextDecoder().decode(Uint8Array.fromHex('{data.hex()}'))")
    assert got == data.decode("utf-8", "replace")


def test_timers_run_in_order_and_can_be_cleared(tmp_path: Path) -> None:
    got = evaluate(
        tmp_path,
        """new Promise((done) => {
        const seen = [];
        const see = (what) => () => seen.push(what);
        setTimeout(see('20'), 20); setTimeout(see('10'), 10); setImmediate(see('immediate'));
        setTimeout((a, b) => seen.push(a + b), 0, 'x', 'y'); queueMicrotask(see('micro'));
        Promise.resolve().then(see('promise'));
        clearTimeout(setTimeout(see('never'), 5)); clearTimeout(undefined); clearTimeout(12345);
        let ticks = 0;
        const tick = () => { seen.push('tick'); if (++ticks === 2) clearInterval(every); };
        const every = setInterval(tick, 1);
        seen.push('now');
        setTimeout(() => done(seen), 40);
        })""",
    )
    assert got[:5] == ["now", "micro", "promise", "immediate", "xy"]
    assert sorted(got[5:]) == ["10", "20", "tick", "tick"]
    assert got.index("10") < got.index("20")


def test_globals_are_writable_and_shared(tmp_path: Path) -> None:
    got = evaluate(
        tmp_path,
        """(() => { global.a = 1; globalThis.b = 2; self.c = 3; (function () { this.d = 4; })();
        global.setTimeout = 5; console.mine = 6;
        return [a, b, c, d, setTimeout, console.mine, typeof mimikModule.exports,
          typeof __host, typeof __start, typeof __hecate]; })()""",
    )
    assert got == [1, 2, 3, 4, 5, 6, "function", "undefined", "undefined", "undefined"]


def test_random_values(tmp_path: Path) -> None:
    got = evaluate(
        tmp_path,
        """(() => { const r = Array.from({length: 1000}, Math.random);
        const u = new Uint32Array(100); crypto.getRandomValues(u);
        return [Math.min(...r), Math.max(...r), new Set(r).size, new Set(u).size,
          crypto.randomUUID(),
          crypto.randomUUID() === crypto.randomUUID(), performance.now() > 0]; })()""",
    )
    low, high, size, words, uuid, same, clock = got
    assert 0 <= low < 0.05 < 0.95 < high < 1
    assert (size, words, same, clock) == (1000, 100, False, True)
    assert len(uuid) == 36
    assert uuid[14] == "4"


def test_hashes_and_signatures(tmp_path: Path) -> None:
    got = evaluate(
        tmp_path,
        """(async () => {
        const bytes = (text) => new TextEncoder().encode(text);
        const hex = (buffer) => new Uint8Array(buffer).toHex();
        const hmac = {name: 'HMAC', hash: 'SHA-256'}, uses = ['sign', 'verify'];
        const key = await crypto.subtle.importKey('raw', bytes('Jefe'), hmac, false, uses);
        const text = bytes('what do ya want for nothing?');
        const signature = await crypto.subtle.sign('HMAC', key, text);
        const fails = async (action) => { try { await action(); } catch (e) { return e.message; } };
        return [
          hex(await crypto.subtle.digest('SHA-256', bytes('abc'))),
          hex(await crypto.subtle.digest({name: 'sha-512'}, new ArrayBuffer(0))).slice(0, 8),
          hex(signature), JSON.stringify(key).includes('Jefe'),
          await crypto.subtle.verify('HMAC', key, signature, text),
          await crypto.subtle.verify('HMAC', key, signature, bytes('other')),
          await crypto.subtle.verify('HMAC', key, signature.slice(1), text),
          await crypto.subtle.verify('HMAC', key, new Uint8Array(0), text),
          await fails(() => crypto.subtle.digest('MD5', text)),
          await fails(() => crypto.subtle.sign('HMAC', {...key}, text)),
          await fails(() => crypto.subtle.digest('SHA-256', 'a text')),
        ]; })()""",
    )
    assert got == [
        hashlib.sha256(b"abc").hexdigest(), hashlib.sha512().hexdigest()[:8],
        # RFC 4231, 4.3
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843", False,
        True, False, False, False,
        "cannot calculate 'MD5': only SHA-1, SHA-256, SHA-384, SHA-512",
        "crypto.subtle.sign needs a key of importKey",
        "crypto.subtle needs an ArrayBuffer or a typed array, "
        "such as new TextEncoder().encode(text)",
    ]  # fmt: skip


URLS = {
    "http://u:p@Host.Example:80/a/./b/../c%20d?x=1&y=ä#h": [
        "http://u:p@host.example/a/c%20d?x=1&y=%C3%A4#h", "host.example", "", "/a/c%20d",
    ],
    "HTTPS://h:8443": ["https://h:8443/", "h", "8443", "/"],
    "http://[::1]:8083/x": ["http://[::1]:8083/x", "[::1]", "8083", "/x"],
    "http://h/a\\b": ["http://h/a/b", "h", "", "/a/b"],
    "  http://h/\n ": ["http://h/", "h", "", "/"],
    "mailto:a@b.c": ["mailto:a@b.c", "", "", "a@b.c"],
    "data:text/plain,hi": ["data:text/plain,hi", "", "", "text/plain,hi"],
    "file:///etc/x": ["file:///etc/x", "", "", "/etc/x"],
}  # fmt: skip


@pytest.mark.parametrize("url", URLS)
def test_urls(url: str, tmp_path: Path) -> None:
    got = evaluate(
        tmp_path, f"((u) => [u.href, u.hostname, u.port, u.pathname])(new URL({json.dumps(url)}))"
    )
    assert got == URLS[url]


RELATIVE = {
    "x": "http://h/a/x", "../x": "http://h/x", "/x?q": "http://h/x?q", "?q": "http://h/a/b?q",
    "#f": "http://h/a/b?old#f", "//other/x": "http://other/x", "https://o": "https://o/",
    "": "http://h/a/b?old", "./": "http://h/a/",
}  # fmt: skip


@pytest.mark.parametrize("url", RELATIVE)
def test_relative_urls(url: str, tmp_path: Path) -> None:
    got = evaluate(tmp_path, f"new URL({json.dumps(url)}, 'http://h/a/b?old#h').href")
    assert got == RELATIVE[url]


@pytest.mark.parametrize("url", ["", "x", "http://", "http://h:99999/", "http://a b/", "//h"])
def test_invalid_urls(url: str, tmp_path: Path) -> None:
    assert evaluate(tmp_path, f"URL.canParse({json.dumps(url)})") is False


def test_search_params(tmp_path: Path) -> None:
    got = evaluate(
        tmp_path,
        """(() => { const u = new URL('http://h/?a=1&b=x+y&a=%C3%A9');
        const p = u.searchParams; p.append('c', '&=ü '); p.delete('b'); p.set('d', '1');
        const q = new URLSearchParams({x: '1', y: 'two words'}); q.sort();
        return [u.href, p.getAll('a'), p.get('none'), p.has('c'), [...q], String(q),
          new URLSearchParams('?a=%zz&b').toString(), p.size]; })()""",
    )
    assert got == [
        "http://h/?a=1&a=%C3%A9&c=%26%3D%C3%BC+&d=1", ["1", "é"], None, True,
        [["x", "1"], ["y", "two words"]], "x=1&y=two+words", "a=%25zz&b=", 4,
    ]  # fmt: skip


def test_modern_javascript(tmp_path: Path) -> None:
    got = evaluate(
        tmp_path,
        """(async () => { class A { #x = 1; static y = 2n ** 70n; get x() { return this.#x ?? 0; } }
        const { x, ...rest } = { x: new A().x, z: [1, , 3].at(-1) };
        async function* g() { yield* [1, 2]; } let sum = 0; for await (const v of g()) sum += v;
        return [x, rest, String(A.y), sum, 'a-b'.replaceAll('-', '+'), await Promise.any([1])];
        })()""",
    )
    assert got == [1, {"z": 3}, str(2**70), 3, "a+b", 1]


def test_a_stack_begins_with_the_message(tmp_path: Path) -> None:
    found = evaluate(
        tmp_path,
        """{
          made: (function f() { return new TypeError("no\\nroom").stack; })(),
          thrown: (() => { try { null.x; } catch (error) { return error.stack; } })(),
          own: (() => {
            class Own extends Error { constructor(text) { super(text); this.name = "Own"; } }
            return new Own("q").stack;
          })(),
          captured: (() => { const o = {}; Error.captureStackTrace(o); return o.stack; })(),
          hidden: (() => {
            class Bad extends Error { get message() { throw 1; } }
            return new Bad().stack;
          })(),
          sites: (() => { // as depd does, which express uses
            const before = Error.prepareStackTrace, o = {};
            Error.prepareStackTrace = (_, sites) => sites;
            Error.captureStackTrace(o);
            const name = o.stack[0].getFileName();
            Error.prepareStackTrace = before;
            return name;
          })(),
          deep: (() => { function g() { g(); } try { g(); } catch (e) { return String(e); } })(),
        }""",
    )
    assert found["made"].startswith("TypeError: no\nroom\n    at f (index.js:")
    assert found["thrown"].startswith("TypeError: cannot read property 'x' of null\n    at ")
    assert found["own"].startswith("Error: q\n    at Own (index.js:")
    assert found["captured"].startswith("Error\n    at ")
    assert found["hidden"].startswith("Error\n    at ")
    assert found["sites"] == "index.js"
    assert found["deep"] == "RangeError: Maximum call stack size exceeded"


@pytest.mark.parametrize("way", ["throw error;", "console.error(error); response.end();"])
def test_the_log_has_message_and_stack_once(
    way: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        async with script(
            tmp_path, handler(f"const error = new RangeError('no\\nroom');\n{way}")
        ) as running:
            await running.get()

    asyncio.run(run())
    text = log_of(caplog.records)
    assert text.count("RangeError: no") == text.count("\n    room") == 1
    assert text.count("index.js:2:") == 1
