"""Gateways that run the examples."""

from collections.abc import Iterator

import pytest

from tests.commands import Person
from tests.integration.examples.developer import Developer
from tests.system import Cloud, Gateway, start_cloud


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
