"""Lists the routes of the mCM API."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gateway.http.routes import ApiRoute
from gateway.services.api.calls import McmAccess
from gateway.services.api.containers import container_routes
from gateway.services.api.deadletters import dead_letter_routes
from gateway.services.api.description import describe_container
from gateway.services.api.images import image_routes
from gateway.services.api.logs import log_route
from gateway.services.api.messages import ContainerMessages
from gateway.services.api.security import security_routes
from gateway.services.api.uploads import ImageUploads
from gateway.services.api.versions import version_routes
from gateway.services.deadletters import DeadLetterKeeper
from gateway.services.deployments import Deployed, Deployments
from gateway.services.limits import ServiceLimits


@dataclass(frozen=True, slots=True)
class McmParts:
    """The parts that the API shows."""

    deployments: Deployments
    dead_letters: DeadLetterKeeper
    messages: Callable[[str], ContainerMessages]  # by container id
    limits: ServiceLimits


def mcm_routes(parts: McmParts, access: McmAccess) -> list[ApiRoute]:
    """Return the routes."""
    deployments, limits = parts.deployments, parts.limits
    uploads, check = ImageUploads(deployments, limits.image, limits.rules), access.client

    def describe(deployed: Deployed) -> dict[str, Any]:
        container_id = deployed.stored.container_id
        messages, given = parts.messages(container_id), deployments.given_values(container_id)
        return describe_container(deployed, messages, given)

    return [
        *image_routes(deployments, uploads, access),
        *security_routes(deployments, check),
        *container_routes(deployments, describe, limits, access, "containers"),
        *container_routes(deployments, describe, limits, access, "mims"),
        *version_routes(deployments, describe, check),
        log_route(deployments, limits, check),
        *dead_letter_routes(deployments, parts.dead_letters, check),
    ]
