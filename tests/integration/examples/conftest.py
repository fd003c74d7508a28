"""Gateways that run the examples, and a developer who deploys them as their READMEs say."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.commands import Person
from tests.programs import ROOT
from tests.system import Cloud, Gateway, start_cloud

EXAMPLES = ROOT / "examples"


@dataclass(frozen=True, slots=True)
class Developer:
    """Types commands for one gateway."""

    person: Person
    gateway: Gateway

    def hecate(self, *words: str, **environ: str) -> str:
        """Return what a command prints that must succeed."""
        at = {"HECATE_URL": self.gateway.url, "HECATE_API_KEY": self.gateway.key}
        return self.person.done(*words, **at, **environ)

    def deploy(self, folder: str | Path, *options: str, **environ: str) -> str:
        """Deploy an example by its name, or a changed copy by its folder."""
        return self.hecate("deploy", str(EXAMPLES / folder), *options, **environ)

    def get(self, path: str, **more: Any) -> Any:
        """Return the JSON at a path below /api."""
        answer = self.gateway.ask("GET", f"/api{path}", "", **more)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture(scope="session")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Developer]:
    """Give the developer of a gateway without a cloud."""
    folder = tmp_path_factory.mktemp("alone")
    environ = {
        "HECATE_GATEWAY_BROKER_ANONYMOUS": "loopback",
        "HECATE_GATEWAY_SERVICES_DEVICES": "/dev/pts/*",
    }
    with Gateway(folder / "state", **environ) as gateway:
        yield Developer(Person(folder), gateway)


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    system = start_cloud(tmp_path_factory.mktemp("cloud"))
    yield system
    assert system.program.stop() == 0


@pytest.fixture(scope="session")
def two(
    cloud: Cloud, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Developer, Developer]]:
    """Give the developers of two gateways of one account, which only the cloud connects."""
    folder = tmp_path_factory.mktemp("two")
    environ = {"HECATE_GATEWAY_BROKER_ANONYMOUS": "loopback", **cloud.environ()}
    with (
        Gateway(folder / "near", **environ) as near,
        Gateway(folder / "far", **environ) as far,
    ):
        for node in (near, far):
            node.until_ready()
            node.rpc("associateAccount", cloud.log_in(node.rpc("getEdgeIdToken")["id_token"]))
        yield Developer(Person(folder), near), Developer(Person(folder), far)
