"""Lists the routes of the mCM API."""

from gateway.http.routes import ApiRoute
from gateway.services.api.calls import McmAccess
from gateway.services.api.containers import container_routes
from gateway.services.api.images import image_routes
from gateway.services.api.logs import log_route
from gateway.services.api.security import security_routes
from gateway.services.api.uploads import ImageUploads
from gateway.services.deployments import Deployments
from gateway.services.limits import ServiceLimits


def mcm_routes(
    deployments: Deployments, limits: ServiceLimits, access: McmAccess
) -> list[ApiRoute]:
    """Return the routes."""
    uploads = ImageUploads(deployments, limits.image, limits.rules)
    return [
        *image_routes(deployments, uploads, access),
        *container_routes(deployments, limits, access, "containers"),
        *container_routes(deployments, limits, access, "mims"),
        *security_routes(deployments, access.client),
        log_route(deployments, limits, access.client),
    ]
