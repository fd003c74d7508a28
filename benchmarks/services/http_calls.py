"""Measures HTTP requests to a microservice through the whole path: client, gateway, container."""

import http.client
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.errors import BenchmarkError, PeerError
from benchmarks.measure import percentile
from benchmarks.services.figures import JAVASCRIPT, ServiceSize
from benchmarks.services.gateways import BenchGateway, run_gateway
from benchmarks.services.processes import cpu_s, tree

MANIFEST = 'name = "bundle"\n[http]\nbase = "/bundle/v1"\n'
PATH = "/api/bundle/v1/hello?x=1"
SERVICE = """\
from microservice import Service
service = Service()
@service.get("/hello")
async def hello(request):
    return {"url": "/hello?x=1"}
"""
MILLI = 1e3
FUNCTIONS = 340
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


def measure_requests(subject: str, size: ServiceSize) -> Mapping[str, float]:
    """Return the time of a request, and the requests per second, by number of clients."""
    values: dict[str, float] = {}
    with run_gateway() as gateway:
        folder = gateway.folder / "bundle"
        folder.mkdir()
        write_bundle(folder, subject)
        gateway.create("bundle", gateway.upload(folder))
        _load(gateway, 1, size.warm_up_s)
        for clients in size.clients:
            before, began = cpu_s(tree(gateway.pid), with_ended=True), time.perf_counter()
            times = sorted(_load(gateway, clients, size.seconds))
            took = time.perf_counter() - began
            used = cpu_s(tree(gateway.pid), with_ended=True) - before
            noun = "client" if clients == 1 else "clients"
            values[f"p50 ms, {clients} {noun}"] = percentile(times, 50) * MILLI
            values[f"p99 ms, {clients} {noun}"] = percentile(times, 99) * MILLI
            values[f"requests/s, {clients} {noun}"] = len(times) / took
            values[f"requests/s of one core, {clients} {noun}"] = len(times) / max(used, 0.01)
    return values


def write_bundle(folder: Path, subject: str) -> None:
    """Write a microservice that answers /bundle/v1/hello."""
    (folder / "microservice.toml").write_text(MANIFEST)
    if subject == JAVASCRIPT:
        (folder / "index.js").write_text(make_bundle())
    else:
        (folder / "service.py").write_text(SERVICE)


def make_bundle() -> str:
    """Return a script of about 100 KB, with many functions of which a request calls a tenth."""
    functions = (FUNCTION % ((n,) * 4) for n in range(FUNCTIONS))
    return "var modules = [];\n" + "".join(functions) + HANDLER


def ask(connection: http.client.HTTPConnection, path: str = PATH) -> bytes:
    """Return the answer to one request."""
    connection.request("GET", path)
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != 200:
        raise PeerError(f"the microservice answered with {answer.status}: {text.decode()[:300]}")
    return text


def _load(gateway: BenchGateway, clients: int, seconds: float) -> list[float]:
    """Return the time of each request of some clients, each with one request at a time."""
    times: list[float] = []
    failures: list[BenchmarkError | OSError] = []
    end = time.perf_counter() + seconds

    def client() -> None:
        connection = gateway.connect()
        try:
            while (began := time.perf_counter()) < end:
                if b'"url":"/hello?x=1"' not in ask(connection).replace(b" ", b""):
                    raise PeerError("the microservice answered something else")
                times.append(time.perf_counter() - began)
        except (BenchmarkError, OSError) as exc:
            failures.append(exc)
        finally:
            connection.close()

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return times
