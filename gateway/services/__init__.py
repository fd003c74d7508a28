"""Runs microservices: images, containers, their processes, and the way to them."""

from gateway.services.api.calls import McmAccess
from gateway.services.errors import ServicesError
from gateway.services.host import ContainerRights, ContainerStatus, ServiceHost
from gateway.services.limits import ServiceLimits
from gateway.services.routes import ContainerRoute
from gateway.services.supervisor import NodeInfo

__all__ = [
    "ContainerRights",
    "ContainerRoute",
    "ContainerStatus",
    "McmAccess",
    "NodeInfo",
    "ServiceHost",
    "ServiceLimits",
    "ServicesError",
]
