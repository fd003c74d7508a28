"""Lists the routes of the mCM API."""

from collections.abc import Callable
from dataclasses import dataclass

from gateway.http.routes import ApiRoute
from gateway.services.api.calls import ClientCheck
from gateway.services.api.containers import container_routes
from gateway.services.api.deadletters import dead_letter_routes
from gateway.services.api.images import image_routes
from gateway.services.api.logs import log_route
from gateway.services.deadletters import DeadLetterKeeper
from gateway.services.deployments import Deployments
from gateway.services.limits import ServiceLimits
from gateway.services.messages import ContainerMessages


@dataclass(frozen=True, slots=True)
class McmParts:
    """The parts that the API shows."""

    deployments: Deployments
    dead_letters: DeadLetterKeeper
    messages: Callable[[str], ContainerMessages]  # by container id
    limits: ServiceLimits


def mcm_routes(parts: McmParts, check: ClientCheck) -> list[ApiRoute]:
    """Return the routes; the check returns the client id of a request, or raises Problem."""
    deployments, limits = parts.deployments, parts.limits
    return [
        *image_routes(deployments, limits, check),
        *container_routes(deployments, parts.messages, limits, check),
        log_route(deployments, limits, check),
        *dead_letter_routes(deployments, parts.dead_letters, check),
    ]
