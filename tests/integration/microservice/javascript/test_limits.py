"""Limits of time and memory, errors that nobody catches, handlers that never answer."""

import asyncio
import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from tests.aio import until
from tests.integration.microservice.javascript.runtime import (
    Script,
    alive,
    children_gone,
    children_of,
    exchange,
    handler,
    log_of,
    script,
)
from tests.programs import ROOT

SHORT = {"MCM.MAX_EXECUTION_TIME_SEC": "0.2"}
PIDS = re.compile(r"\d+")

Log = pytest.LogCaptureFixture
Use = Callable[[Script], Coroutine[Any, Any, None]]


def run(directory: Path, code: str, use: Use, **given: Any) -> None:
    async def main() -> None:
        async with script(directory, code, **given) as running:
            await use(running)
            await children_gone(running.service_pid)

    asyncio.run(main())


ENDLESS = {
    "loop": "for (;;);",
    "host call in a loop": "for (;;) console.log(1);",
    "storage in a loop": "for (;;) context.storage.getItem('a');",
    "awaited timers": "for (let i = 0; i < 5; i++) await new Promise((f) => setTimeout(f, 100));",
    "microtasks": "for (;;)\nawait 0;",
    "microtasks of many promises": "for (;;) await Promise.all([1, 2].map(async (x) => x));",
    "queueMicrotask": "const again = () => queueMicrotask(again); again();",
    "setImmediate": "const again = () => setImmediate(again); again();",
    "getter": "const o = { get x() { for (;;); } }; o.x;",
    "toString of a thrown value": "throw Object.assign(Error(), { toString() { for (;;); } });",
    "caught regular expression": "for (;;) try { /^(a+)+$/.test('a'.repeat(40) + '!'); } catch {}",
    "caught loop": "for (;;) try { for (;;); } catch (e) {} finally { for (;;); }",
    "rejections": "const f = async () => { for (;;); }; try { await f(); } catch { for (;;); }",
    "generator": "function* g() { for (;;) yield 1; } for (const x of g());",
    "proxy": "const p = new Proxy({}, { get() { for (;;); } }); p.x;",
    "sort": "const a = Array.from({ length: 99 }); for (;;) a.sort(() => Math.random() - 0.5);",
    "prepareStackTrace": "Error.prepareStackTrace = () => { for (;;); }; for (;;);",
}


# case S1, S2
@pytest.mark.parametrize("kind", ENDLESS)
def test_no_script_outlives_its_time(
    kind: str, tmp_path: Path, caplog: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the other two guards, which know no line, must not be the ones that end it on a busy machine
    monkeypatch.setattr("microservice.javascript.host.BACKSTOP_S", 30.0)
    monkeypatch.setattr("microservice.javascript.exchange.OVERTIME_S", 60.0)

    async def use(running: Script) -> None:
        answer = await running.get("/endless")
        assert answer.status == 500, answer.text
        assert "time limit of 0.2 s" in answer.text
        assert running.counters.failed == 1

    run(tmp_path, handler(ENDLESS[kind]), use, env=SHORT)
    log = log_of(caplog.records)
    assert "GET /endless: time limit of 0.2 s" in log, log
    if kind != "prepareStackTrace":  # a script that hides its own stack
        # a loop without a body has no line of its own, but that of its function
        assert re.search(r"index\.js:[123]\b", log), log


NATIVE = {
    "repeated padding": "for (;;) 'x'.repeat(1 << 20).padEnd(1 << 21);",
    "indexOf over a huge length": "new Array(4e9).indexOf(1);",
    "join over a huge length": "Array.prototype.lastIndexOf.call({ length: 2 ** 53 - 1 }, 1);",
    "BigInt": "for (let x = 3n; ; ) x = (x * x) % (10n ** 40000n);",
}


# case S2
@pytest.mark.parametrize("kind", NATIVE)
def test_native_code_is_ended_too(kind: str, tmp_path: Path, caplog: Log) -> None:
    async def use(running: Script) -> None:
        answer = await running.get()
        assert answer.status == 500, answer.text
        assert "time limit" in answer.text

    run(tmp_path, handler(NATIVE[kind]), use, env=SHORT)
    assert "time limit of 0.2 s" in log_of(caplog.records)


GREEDY = {
    "objects": "const a = []; for (;;) a.push({ x: [1] });",
    "string doubling": "const a = []; for (let s = 'x'; ; s += s) a.push(s.toUpperCase());",
    "typed arrays": "const a = []; for (;;) a.push(new Uint8Array(1 << 16).fill(1));",
    "one huge buffer": "new ArrayBuffer(1 << 30);",
    "shared buffers": "const a = []; for (;;) a.push(new SharedArrayBuffer(1 << 20));",
    "a buffer that grows": "new ArrayBuffer(1, { maxByteLength: 2 ** 30 }).resize(2 ** 30);",
    "weak references": "const a = []; for (;;) a.push(new WeakRef({}));",
    "closures": "const a = []; for (;;) a.push(() => a);",
    "promise chain": "let p = Promise.resolve(); for (;;) p = p.then(() => {});",
    "map": "const m = new Map(); for (let i = 0; ; i++) m.set(i, String(i));",
    "JSON text": "JSON.parse('[' + '[1,2],'.repeat(1 << 20) + '1]');",
    "split": "'x,'.repeat(1 << 20).split(',').map((x) => x + '!');",
    "regular expression": "'ab'.repeat(1 << 20).match(/(a)(b)/g).map((x) => [x]);",
    "timers": "for (let i = 0; i < 9999; i++) setTimeout(Date, 1e6, 'x'.repeat(1e4 + i));",
    "own log": "for (let s = 'x'; ; s += s) console.log(s, [s, s, s].join(s));",
    "answer": "for (let s = 'x'; ; s += s + '!') response.setHeader('x', s);",
}


# case S3
@pytest.mark.parametrize("kind", GREEDY)
def test_memory_has_a_ceiling(kind: str, tmp_path: Path, caplog: Log) -> None:
    peaks: list[int] = []

    async def use(running: Script) -> None:
        asking = asyncio.create_task(running.get("/greedy"))
        while not asking.done():
            peaks.extend(own_kib(pid) for pid in children_of(running.service_pid))
            await asyncio.sleep(0.001)
        answer = await asking
        assert answer.status == 500, answer.text
        assert "memory_mib = 16" in answer.text
        fine = await running.get("/fine")  # the next request has its own memory
        assert (fine.status, fine.text) == (200, "fine")

    code = handler(f"if (request.url === '/fine') return response.end('fine');\n{GREEDY[kind]}")
    run(tmp_path, code, use, memory_mib=16)
    assert "out of memory" in log_of(caplog.records)
    assert max(peaks, default=0) <= (16 + 8) * 1024


def own_kib(pid: int) -> int:
    """Return the memory that a process shares with no other, in KiB."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    fields = dict(line.split(":", 1) for line in rollup.splitlines()[1:])
    return int(fields["Private_Dirty"].split()[0]) if "Private_Dirty" in fields else 0


DEEP = {
    "recursion": "const f = () => f() + 1; f();",
    "getter": "const o = { get x() { return this.x; } }; o.x;",
    "JSON text": "JSON.parse('['.repeat(1e5));",
    "JSON value": "let a = []; for (let i = 0; i < 1e5; i++) a = [a]; JSON.stringify(a);",
    "regular expression": "new RegExp('('.repeat(1e5) + ')'.repeat(1e5));",
    "source text": "new Function('('.repeat(1e5))();",
    "proxy": "let p = {}; for (let i = 0; i < 1e5; i++) p = new Proxy(p, {}); p.x;",
    "toString": "const a = []; a.push(a, { toString() { return String(this); } }); String(a[1]);",
}


# case S3: a native stack that overflows would be a SIGSEGV
@pytest.mark.parametrize("kind", DEEP)
def test_deep_recursion_is_an_error(kind: str, tmp_path: Path, caplog: Log) -> None:
    async def use(running: Script) -> None:
        answer = await running.get()
        assert (answer.status, "handler failed" in answer.text) == (500, True), answer.text

    run(tmp_path, handler(DEEP[kind]), use)
    log = log_of(caplog.records)
    assert "SIGSEGV" not in log
    assert re.search(r"RangeError|SyntaxError|InternalError", log), log


# case S4
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("setTimeout(() => { throw Error('x'); }, 10);", "Error: x (index.js:2)"),
        ("Promise.reject(Error('x'));", "Error: x (index.js:2)"),
        ("setTimeout(() => { throw { my: 'value' }; }, 1);", 'Uncaught: {my: "value"}'),
        ("Promise.resolve().then(() => undefinedName);", "ReferenceError: undefinedName"),
        ("throw null;", "null"),
        ("throw 'text';", "Uncaught: text"),
        ("throw new (class Mine extends Error {})('own');", "Error: own"),
    ],
)
def test_errors_that_nobody_catches(code: str, expected: str, tmp_path: Path, caplog: Log) -> None:
    async def use(running: Script) -> None:
        answer = await running.get("/fault?secret=1")
        assert answer.status == 500
        assert "see the container's log" in answer.text
        assert "x" not in answer.text.replace("text", "")[-20:]
        assert running.counters.failed == 1

    run(tmp_path, handler(code), use)
    log = log_of(caplog.records)
    assert expected in log, log
    assert "secret" not in log


# case S4
def test_an_error_beside_an_answer_is_counted_and_the_answer_goes_on(
    tmp_path: Path, caplog: Log
) -> None:
    async def use(running: Script) -> None:
        answer = await running.get()
        assert (answer.status, answer.text) == (200, "late")
        assert running.counters.failed == 1

    code = "Promise.reject(Error('lost')); setTimeout(() => response.end('late'), 20);"
    run(tmp_path, handler(code), use)
    assert "Error: lost (index.js:2)" in log_of(caplog.records)


def test_the_errors_of_a_request_are_bounded(tmp_path: Path, caplog: Log) -> None:
    async def use(running: Script) -> None:
        answer = await running.get()
        assert "time limit" in answer.text
        assert running.counters.failed == 1

    run(tmp_path, handler("setInterval(() => { Promise.reject(1); null.x; }, 1);"), use, env=SHORT)
    assert len(caplog.records) == 21


def test_a_rejection_that_is_handled_later_is_none(tmp_path: Path, caplog: Log) -> None:
    async def use(running: Script) -> None:
        assert (await running.get()).text == "fine"
        assert running.counters.failed == 0

    code = "const p = Promise.reject(Error('x')); p.catch(() => response.end('fine'));"
    run(tmp_path, handler(code), use)
    assert not caplog.records


# case S5
@pytest.mark.parametrize(
    "code",
    ["", "await new Promise(() => {});", "new Promise(() => {}).then(() => response.end());"],
)
def test_an_unanswered_request_is_told_at_once(code: str, tmp_path: Path, caplog: Log) -> None:
    async def use(running: Script) -> None:
        answer = await running.get()
        assert answer.status == 500
        assert "ended without response" in answer.text

    # a limit of 30 s: a test that waits it out fails by its own
    run(tmp_path, handler(code), use)
    assert "ended without response" in log_of(caplog.records)


def test_a_client_that_hangs_up_ends_its_child(tmp_path: Path) -> None:
    async def use(running: Script) -> None:
        gone = asyncio.Event()
        scope = {
            "type": "http", "method": "GET", "path": "/", "raw_path": b"/", "query_string": b"",
            "headers": [],
        }  # fmt: skip
        asking = asyncio.create_task(exchange(running.app, scope, [], gone))
        await until(lambda: children_of(running.service_pid))
        gone.set()
        await asking
        await children_gone(running.service_pid)

    run(tmp_path, handler("for (;;);"), use)


def test_the_number_of_children_is_bounded(tmp_path: Path) -> None:
    async def use(running: Script) -> None:
        most = 0
        asking = [asyncio.create_task(running.get(f"/{i}")) for i in range(100)]
        while not all(one.done() for one in asking):
            most = max(most, len(children_of(running.service_pid)))
            await asyncio.sleep(0.001)
        statuses = [one.result().status for one in asking]
        assert most <= 3 + 1  # the one that waits for the next request
        # 3 run, 64 wait, the others are refused
        assert statuses.count(200) == 67
        assert statuses.count(503) == 33

    code = handler("setTimeout(() => response.end(), 20);")
    run(tmp_path, code, use, concurrency=3)


def test_the_time_of_a_request_begins_with_it(tmp_path: Path) -> None:
    async def use(running: Script) -> None:
        assert (await running.get()).status == 200
        # one child waits for the next request, longer than a request may take
        await until(lambda: children_of(running.service_pid))
        await asyncio.sleep(1.6)
        assert (await running.get()).status == 200

    env = {"MCM.MAX_EXECUTION_TIME_SEC": "1.5"}
    run(tmp_path, handler("setTimeout(() => response.end(), 50);"), use, env=env)


def test_a_child_that_died_while_it_waited_takes_no_request(tmp_path: Path) -> None:
    async def use(running: Script) -> None:
        assert (await running.get()).status == 200
        await until(lambda: children_of(running.service_pid))
        (spare,) = children_of(running.service_pid)
        os.kill(spare, signal.SIGKILL)
        await until(lambda: not children_of(running.service_pid))
        await asyncio.sleep(0.05)  # for the front to hear of it
        assert (await running.get()).status == 200

    run(tmp_path, handler("response.end();"), use)


def test_a_dead_evaluator_is_started_again(tmp_path: Path) -> None:
    async def use(running: Script) -> None:
        assert (await running.get()).status == 200
        first = running.service_pid
        running.kill_evaluator()
        await until(lambda: not alive(first))
        for _ in range(100):  # one request may come before the front has seen the end
            answer = await running.get()
            if answer.status == 200:
                break
        assert answer.status == 200
        assert running.service_pid != first

    run(tmp_path, handler("response.end('here');"), use)


def test_children_end_with_their_evaluator(tmp_path: Path) -> None:
    async def use(running: Script) -> None:
        asking = asyncio.create_task(running.get())
        await until(lambda: children_of(running.service_pid))
        children = children_of(running.service_pid)
        running.kill_evaluator()
        assert (await asking).status == 500
        await until(lambda: not any(alive(child) for child in children))

    run(tmp_path, handler("for (;;);"), use)


FRONT = """
import asyncio, sys
from pathlib import Path
from tests.integration.microservice.javascript.runtime import script

async def main():
    async with script(Path(sys.argv[1]), "mimikModule.exports = () => { for (;;); };") as running:
        asking = asyncio.create_task(running.get())
        print(running.service_pid, flush=True)
        await asking

asyncio.run(main())
"""


def test_everything_ends_with_a_front_that_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FRONT, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as front:
        assert front.stdout is not None
        evaluator = int(front.stdout.readline())

        async def wait() -> None:
            await until(lambda: children_of(evaluator))
            pids = {evaluator, *children_of(evaluator)}
            front.kill()
            await until(lambda: not any(alive(pid) for pid in pids))

        asyncio.run(wait())


def test_the_log_of_a_request_is_bounded(tmp_path: Path, caplog: Log) -> None:
    async def use(running: Script) -> None:
        assert (await running.get()).status == 200

    code = "for (let i = 0; i < 5000; i++) console.log(i, 'x'.repeat(1e5)); response.end();"
    with caplog.at_level(logging.INFO):
        run(tmp_path, handler(code), use)
    text = log_of(caplog.records)
    assert len(text) < 400_000
    assert "more characters" in text
    assert "more lines of this request are not written" in text


def test_a_log_line_cannot_forge_others(tmp_path: Path, caplog: Log) -> None:
    async def use(running: Script) -> None:
        assert (await running.get()).status == 200

    with caplog.at_level(logging.INFO):
        run(tmp_path, handler("console.log('a\\nERROR forged\\r\\nmore'); response.end();"), use)
    assert "a\n    ERROR forged\n    more" in log_of(caplog.records)
