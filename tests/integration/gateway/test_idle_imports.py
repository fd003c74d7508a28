"""The modules of an idle gateway: each costs memory on machines that have little (ADR 2)."""

import json
import signal
import sys
from pathlib import Path

import httpx

from tests.programs import Program, until

# writes the names of all modules that are loaded when it gets SIGUSR1
PROBE = """
import signal, sys
from gateway.cli import serve

def write_modules(*_):
    import json, os
    with open(sys.argv[1] + ".new", "w") as file:
        json.dump(sorted(name for name, found in sys.modules.items() if found), file)
    os.rename(sys.argv[1] + ".new", sys.argv[1])

signal.signal(signal.SIGUSR1, write_modules)
sys.exit(serve.main([]))
"""

# of others
ALLOWED = {
    "anyio", "cbor2", "cffi", "cryptography", "h11", "joserfc", "python_multipart", "starlette",
    "typing_extensions", "uvicorn",
}  # fmt: skip
# not rich, of the command line of httpx; nor paho, before the cloud has answered
OF_THE_CLOUD = {"certifi", "httpcore", "httpx", "idna"}
ONLY_WITH_A_CLOUD = ("gateway.cloud_api.client", "gateway.sep", "gateway.spool.file")
ONLY_WHEN_ASKED = (
    "gateway.cli.app", "gateway.http.openapi", "gateway.links.links",
    "gateway.services.images.archives", "gateway.services.images.pull", "gateway.sidecar.metrics",
    "html", "microservice.service", "multiprocessing", "zoneinfo",
)  # fmt: skip


def imported(folder: Path, *paths: str, cloud: str = "") -> set[str]:
    """Return the modules of a gateway that is ready and was asked for paths."""
    found = folder / "modules.json"
    environ = {
        "HECATE_GATEWAY_NODE_STATE": str(folder / "state"),
        "HECATE_GATEWAY_BROKER_PORT": "0",
        "HECATE_GATEWAY_SIDECAR_PORT": "0",
        "HECATE_GATEWAY_CLOUD_URL": cloud,
    }
    with Program([sys.executable, "-c", PROBE, str(found)], environ) as program:
        url = program.wait_for(r"gateway ready: .* API (http://[^,]+)")[1]
        ready = httpx.get(f"{url}/readyz", trust_env=False)
        assert ready.status_code == (503 if cloud else 200)  # nobody answers for the cloud
        for path in paths:
            assert httpx.get(f"{url}{path}", trust_env=False).status_code == 200
        program.process.send_signal(signal.SIGUSR1)
        until(found.exists, "the list of modules")
    return set(json.loads(found.read_text()))


def others(modules: set[str]) -> set[str]:
    ours = {
        "__main__",
        "broker",
        "gateway",
        "hardware",
        "microservice",
        "protocol",
        "settings",
        "web",
    }
    names = {name.partition(".")[0] for name in modules} - ours - sys.stdlib_module_names
    return {name for name in names if not name.startswith(("_", "sitecustomize"))}


def test_an_idle_gateway_imports_no_more_than_it_uses(tmp_path: Path) -> None:
    modules = imported(tmp_path)
    assert others(modules) <= ALLOWED
    for name in ONLY_WITH_A_CLOUD + ONLY_WHEN_ASKED:
        assert name not in modules


def test_metrics_and_the_description_bring_their_modules(tmp_path: Path) -> None:
    modules = imported(tmp_path, "/metrics", "/openapi.json")
    assert others(modules) - ALLOWED == {"prometheus_client"}
    assert "gateway.http.openapi" in modules


def test_a_cloud_brings_its_client_without_a_command_line(tmp_path: Path) -> None:
    modules = imported(tmp_path, cloud="http://127.0.0.1:9")
    assert others(modules) - ALLOWED <= OF_THE_CLOUD
    assert "gateway.cloud_api.client" in modules
