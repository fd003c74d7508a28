"""One machine's worth of Hecate: cloud, gateway, one device in MicroPython, one microservice."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.programs import HECATE, run
from tests.system import Cloud, Gateway, start_cloud


class InstalledGateway(Gateway):
    """A gateway that the command starts, as a person would."""

    def command(self) -> tuple[str, ...]:
        """Return the command."""
        return (*HECATE, "gateway")


def start_gateway(state: Path, cloud: Cloud) -> Gateway:
    """Start a gateway that belongs to a cloud, on free ports; return when it is ready."""
    gateway = InstalledGateway(state, HECATE_GATEWAY_BROKER_ANONYMOUS="loopback", **cloud.environ())
    gateway.until_ready()
    return gateway


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    system = start_cloud(tmp_path_factory.mktemp("cloud"))
    yield system
    assert system.program.stop() == 0


@pytest.fixture(scope="module")
def gateway(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Give a gateway that is associated with the development account and runs the example."""
    node = start_gateway(tmp_path_factory.mktemp("gateway"), cloud)
    token = cloud.log_in(edge_id_token=node.rpc("getEdgeIdToken")["id_token"])
    assert node.rpc("associateAccount", token)["accountId"]
    run((*HECATE, "deploy", "examples/climate"), HECATE_URL=node.url, HECATE_API_KEY=node.key)
    yield node
    assert node.program.stop() == 0
