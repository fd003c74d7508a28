"""Measures the memory of a gateway, its warm parent and each idle container."""

import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.services.figures import JAVASCRIPT, PYTHON, ServiceSize
from benchmarks.services.gateways import BenchGateway, run_gateway
from benchmarks.services.http_calls import write_bundle
from benchmarks.services.processes import pss_mib, rss_mib, tree

UNREACHABLE = "http://127.0.0.1:9"  # the discard service, which nobody has


def measure_memory(_subject: str, size: ServiceSize) -> Mapping[str, float]:
    """Return resident and proportional memory (RSS, PSS), as containers are added."""
    with run_gateway(UNREACHABLE) as gateway:
        time.sleep(size.settle_s)
        with_cloud = rss_mib(gateway.pid)
    with run_gateway() as gateway:
        time.sleep(size.settle_s)
        values = {
            "gateway with a cloud that is away: RSS MiB": with_cloud,
            "start until /readyz s": gateway.ready_s,
            "gateway without containers: RSS MiB": rss_mib(gateway.pid),
            "gateway without containers: PSS MiB": pss_mib({gateway.pid}),
        }
        _run(gateway, PYTHON, 1, size)
        values["gateway with one container: RSS MiB"] = rss_mib(gateway.pid)
        values["gateway with one container: PSS MiB"] = pss_mib({gateway.pid})
        fronts = gateway.front_pids("bundle-1")
        others = tree(gateway.pid) - {gateway.pid}
        values["all processes of the first container, warm parent, standby: PSS MiB"] = pss_mib(
            others
        )
        values["Python container, the first: PSS MiB"] = pss_mib(fronts)
        for subject, name, number in (
            (PYTHON, "Python container, one more: PSS MiB", 2),
            (JAVASCRIPT, "JavaScript container, the first: PSS MiB", 3),
            (JAVASCRIPT, "JavaScript container, one more: PSS MiB", 4),
        ):
            before = pss_mib(tree(gateway.pid))
            _run(gateway, subject, number, size)
            values[name] = pss_mib(tree(gateway.pid)) - before
        values["gateway with four containers: RSS MiB"] = rss_mib(gateway.pid)
    return values


def _run(gateway: BenchGateway, subject: str, number: int, size: ServiceSize) -> None:
    """Run one more container, and wait until it is idle."""
    folder = gateway.folder / f"bundle-{number}"
    folder.mkdir()
    write_bundle(folder, subject)
    _rename(folder / "microservice.toml", f"bundle-{number}")
    gateway.create(f"bundle-{number}", gateway.upload(folder))
    time.sleep(size.settle_s)


def _rename(manifest: Path, name: str) -> None:
    manifest.write_text(f'name = "{name}"\n[http]\nbase = "/{name}/v1"\n')
