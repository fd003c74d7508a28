"""Microservices: images, containers, their processes, and the way to them."""

from gateway.services.deployments import NodeInfo
from gateway.services.errors import ServicesError
from gateway.services.host import ContainerRights, ContainerStatus, ServiceHost
from gateway.services.limits import ServiceLimits
from gateway.services.routes import ContainerRoute

__all__ = [
    "ContainerRights",
    "ContainerRoute",
    "ContainerStatus",
    "NodeInfo",
    "ServiceHost",
    "ServiceLimits",
    "ServicesError",
]
