"""Measures JavaScript microservices: `python -m benchmarks.javascript`.

A bundle of about 100 KB with 340 functions answers through the whole path: client, gateway, front
process, a fresh child. One client measures the time of an answer, several the throughput; then the
memory of an idle container, and the time from a deployment to the first answer.
"""

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.brokers import ROOT, SCRATCH
from benchmarks.errors import BenchmarkError
from benchmarks.measure import percentile
from gateway.services.images.pack import pack_image

READY = re.compile(r"API http://127\.0\.0\.1:(\d+)")
READY_S, STOP_S, ANSWER_S = 30.0, 15.0, 30.0
FUNCTIONS = 340
CLIENTS = (1, 4)
MANIFEST = 'name = "bundle"\n[http]\nbase = "/bundle/v1"\n'
PATH = "/api/bundle/v1/hello?x=1"
HANDLER = """
mimikModule.exports = function (context, request, response) {
  var sum = 0;
  for (var i = 0; i < modules.length; i += 10) sum += modules[i](i).length;
  response.end(JSON.stringify({ url: request.url, sum: sum }));
};
"""
FUNCTION = """modules.push(function module_%d(n) {
  'use strict';
  var names = ['alpha-%d', 'beta-%d', 'gamma-%d'], found = {};
  names.forEach(function (name, at) { found[name] = { at: at, text: name + ':' + n }; });
  if (n < 0) throw new TypeError('cannot use ' + n + ': it is negative');
  return Object.keys(found).map(function (key) { return found[key].text; }).join(',');
});
"""


@dataclass(frozen=True, slots=True)
class JavascriptFigures:
    """The numbers of one run; times in milliseconds."""

    clients: int
    requests: int
    p50: float
    p99: float
    per_s: float
    per_core_s: float  # of the processor time of gateway, front, evaluator and children


def bundle() -> str:
    """Return a script of about 100 KB."""
    return (
        "var modules = [];\n" + "".join(FUNCTION % ((n,) * 4) for n in range(FUNCTIONS)) + HANDLER
    )


@contextmanager
def _gateway(folder: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    environ = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "HECATE_GATEWAY_NODE_STATE": str(folder / "state"),
        "HECATE_GATEWAY_BROKER_PORT": "0",
        "HECATE_GATEWAY_SIDECAR_PORT": "0",
    }
    command = [sys.executable, "-m", "gateway.cli.serve"]
    process = subprocess.Popen(
        command,
        env=environ,
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        yield process, _wait_until_ready(process)
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
        process.kill()
        process.wait()


def _wait_until_ready(process: subprocess.Popen[str]) -> int:
    deadline = time.monotonic() + READY_S
    assert process.stdout is not None
    for line in process.stdout:
        found = READY.search(line)
        if found:
            threading.Thread(target=process.stdout.read, daemon=True).start()
            return int(found[1])
        if time.monotonic() > deadline:
            break
    raise BenchmarkError("the gateway does not become ready")


def _deploy(port: int, key: str, folder: Path) -> float:
    """Upload and start the bundle; return the seconds until its first answer."""
    (folder / "index.js").write_text(bundle())
    (folder / "microservice.toml").write_text(MANIFEST)
    image, began = pack_image(folder), time.perf_counter()
    edge = b"--frame"
    head = b'\r\nContent-Disposition: form-data; name="image"; filename="i.tar"\r\n\r\n'
    form = edge + head + image + b"\r\n" + edge + b"--\r\n"
    _call(port, key, "/mcm/v1/images", form, "multipart/form-data; boundary=frame")
    body = json.dumps({"name": "bundle", "image": "bundle-v1"}).encode()
    _call(port, key, "/mcm/v1/containers", body, "application/json")
    _ask(http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_S))
    return time.perf_counter() - began


def _call(port: int, key: str, path: str, body: bytes, kind: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_S)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": kind}
    connection.request("POST", path, body, headers)
    answer = connection.getresponse()
    if answer.status not in (200, 201):
        raise BenchmarkError(f"cannot POST {path}: {answer.read().decode()}")
    connection.close()


def _ask(connection: http.client.HTTPConnection) -> None:
    connection.request("GET", PATH)
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != 200:
        raise BenchmarkError(f"the microservice answered with {answer.status}: {text.decode()}")


def _load(port: int, pid: int, clients: int, seconds: float) -> JavascriptFigures:
    times: list[float] = []
    failures: list[BenchmarkError] = []
    end = time.perf_counter() + seconds

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_S)
        try:
            while (began := time.perf_counter()) < end:
                _ask(connection)
                times.append(time.perf_counter() - began)
        except BenchmarkError as exc:
            failures.append(exc)
        finally:
            connection.close()

    threads = [threading.Thread(target=client) for _ in range(clients)]
    began, cpu = time.perf_counter(), _cpu_s(pid)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took, used = time.perf_counter() - began, _cpu_s(pid) - cpu
    if failures:
        raise failures[0]
    times.sort()
    return JavascriptFigures(
        clients,
        len(times),
        percentile(times, 50) * 1000,
        percentile(times, 99) * 1000,
        len(times) / took,
        len(times) / used,
    )


def _tree(pid: int) -> set[int]:
    """Return a process and all that it has started."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
                parents[int(entry.name)] = int(fields[1])
    found = {pid}
    while grown := {child for child, parent in parents.items() if parent in found} - found:
        found |= grown
    return found


def _cpu_s(pid: int) -> float:
    """Return the processor time of a tree, with that of children that have ended."""
    ticks = 0
    for one in _tree(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{one}/stat").read_bytes().rpartition(b")")[2].split()
            ticks += sum(int(each) for each in fields[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def _memory_mib(pids: set[int]) -> float:
    kib = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            found = re.search(r"^Pss: +(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)
            kib += int(found[1]) if found else 0
    return kib / 1024


def bench(
    seconds: Annotated[float, typer.Option(min=1, help="Seconds for each number of clients.")] = 5,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the figures here.")
    ] = None,
) -> None:
    """Measure requests of a JavaScript microservice with a bundle of 100 KB."""
    SCRATCH.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=SCRATCH) as name, _gateway(Path(name)) as (gateway, port):
        key = (Path(name) / "state/api-key").read_text().strip()
        source = Path(name) / "bundle"
        source.mkdir()
        first_s = _deploy(port, key, source)
        before = _memory_mib(_tree(gateway.pid))  # with what all containers share
        env = {"MCM.BASE_API_PATH": "/other/v1"}
        other = {"name": "other", "image": "bundle-v1", "env": env}
        _call(port, key, "/mcm/v1/containers", json.dumps(other).encode(), "application/json")
        memory = _memory_mib(_tree(gateway.pid)) - before
        figures = [_load(port, gateway.pid, clients, seconds) for clients in CLIENTS]
    table = Table("clients", "p50 ms", "p99 ms", "requests/s", "requests/s of one core")
    for one in figures:
        table.add_row(
            str(one.clients), f"{one.p50:.2f}", f"{one.p99:.2f}", f"{one.per_s:.0f}",
            f"{one.per_core_s:.0f}",
        )  # fmt: skip
    console = Console()
    console.print(table)
    console.print(
        f"bundle of {len(bundle()) / 1000:.0f} KB; first answer {first_s:.2f} s after the upload"
    )
    console.print(f"idle container: {memory:.1f} MiB (PSS that one more adds)")
    if json_file is not None:
        values = {"first_answer_s": first_s, "idle_mib": memory}
        json_file.write_text(json.dumps(values | {"load": [asdict(one) for one in figures]}))


if __name__ == "__main__":
    typer.run(bench)
