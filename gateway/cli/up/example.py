"""Deploys the example microservice of `hecate up`."""

from pathlib import Path

import gateway
from gateway.cli.client.records import rows_of
from gateway.cli.client.sidecar import SidecarClient
from gateway.cli.packaging.builder import build_folder
from gateway.cli.services.deploy import STARTED, ContainerOptions, deploy_package

# beside this package in the repository as in an installation
FOLDER = Path(gateway.__file__).parent.parent / "examples" / "climate"


async def ensure_example(sidecar: SidecarClient) -> str:
    """Deploy the example unless this very one runs; return what was done."""
    package = build_folder(FOLDER)
    images = rows_of(await sidecar.call("list images", "GET", "/mcm/v1/images"))
    containers = rows_of(await sidecar.call("list containers", "GET", "/mcm/v1/containers"))
    same_image = any(image.get("digest") == package.digest for image in images)
    runs = any(
        container.get("name") == package.name and container.get("state") == STARTED
        for container in containers
    )
    if same_image and runs:
        return f"{package.image} runs, as it was deployed before"
    await deploy_package(sidecar, package, ContainerOptions(package.name))
    return f"{package.image} deployed from {FOLDER}"
