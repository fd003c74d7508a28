"""Measures deployments: upload to first answer, update in place, rollback."""

import json
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.errors import PeerError
from benchmarks.measure import spread
from benchmarks.services.figures import JAVASCRIPT, ServiceSize
from benchmarks.services.gateways import BenchGateway, run_gateway
from benchmarks.services.http_calls import ask, make_bundle

MANIFEST = 'name = "{name}"\nversion = "{version}"\n[http]\nbase = "/{name}/v1"\n'
SERVICE = """\
from microservice import Service
service = Service()
@service.get("/version")
async def version(request):
    return {{"version": "{version}"}}
"""
SCRIPT = """
mimikModule.exports = (context, request, response) => {{
  response.end(JSON.stringify({{ version: "{version}" }}));
}};
"""


def measure_deployments(subject: str, size: ServiceSize) -> Mapping[str, float]:
    """Return the seconds of each change until a request is answered by the new version."""
    deployed, updated, rolled_back = [], [], []
    with run_gateway() as gateway:
        for number in range(size.changes):
            name = f"app-{number}"
            deployed.append(_time(gateway, subject, name, "1"))
            updated.append(_time(gateway, subject, name, "2"))
            began = time.perf_counter()
            gateway.call("POST", f"/mcm/v1/containers/{_id(gateway, name)}/rollback")
            _check(gateway, name, "1")
            rolled_back.append(time.perf_counter() - began)
    changes = {
        "deploy to first answer": deployed,
        "update in place": updated,
        "rollback": rolled_back,
    }
    values: dict[str, float] = {}
    for change, times in changes.items():
        found = spread(times)
        values |= {f"{change}: median s": found.median, f"{change}: slowest s": found.high}
    return values


def _time(gateway: BenchGateway, subject: str, name: str, version: str) -> float:
    """Deploy a version; return the seconds from the upload to its first answer."""
    folder = gateway.folder / f"{name}-{version}"
    folder.mkdir()
    (folder / "microservice.toml").write_text(MANIFEST.format(name=name, version=version))
    _write(folder, subject, version)
    began = time.perf_counter()
    gateway.create(name, gateway.upload(folder))
    _check(gateway, name, version)
    return time.perf_counter() - began


def _write(folder: Path, subject: str, version: str) -> None:
    if subject == JAVASCRIPT:
        (folder / "index.js").write_text(make_bundle() + SCRIPT.format(version=version))
    else:
        (folder / "service.py").write_text(SERVICE.format(version=version))


def _check(gateway: BenchGateway, name: str, version: str) -> None:
    """Ask the microservice; PeerError when another version answers."""
    connection = gateway.connect()
    answer = json.loads(ask(connection, f"/api/{name}/v1/version"))
    connection.close()
    if answer != {"version": version}:
        raise PeerError(f"version {version} of {name} should answer: {answer}")


def _id(gateway: BenchGateway, name: str) -> str:
    containers = gateway.call("GET", "/mcm/v1/containers")["data"]
    return next(str(each["id"]) for each in containers if each["name"] == name)
