"""Lists the routes of the mCM API."""

from gateway.http.routes import ApiRoute
from gateway.services.api.calls import ClientCheck
from gateway.services.api.containers import container_routes
from gateway.services.api.images import image_routes
from gateway.services.api.logs import log_route
from gateway.services.api.security import security_routes
from gateway.services.deployments import Deployments
from gateway.services.limits import ServiceLimits


def mcm_routes(
    deployments: Deployments, limits: ServiceLimits, check: ClientCheck
) -> list[ApiRoute]:
    """Return the routes; the check returns the client id of a request, or raises Problem."""
    return [
        *image_routes(deployments, limits, check),
        *container_routes(deployments, limits, check),
        *security_routes(deployments, check),
        log_route(deployments, limits, check),
    ]
