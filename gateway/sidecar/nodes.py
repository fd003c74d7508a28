"""Discovery: the nodes of a cluster."""

from collections.abc import Awaitable, Callable
from enum import StrEnum
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from gateway.access.guard import Guard
from gateway.cluster.members import Cluster
from gateway.errors import UplinkError
from gateway.http.problems import Problem
from gateway.node.record import Node
from protocol.records import to_fields


class Clusters(StrEnum):
    """The scope of a cluster."""

    LINK_LOCAL = "linkLocal"
    ACCOUNT = "account"


AccountNodes = Callable[[], Awaitable[list[dict[str, Any]]]]


def nodes_router(
    guard: Guard, node: Node, cluster: Cluster, account_nodes: AccountNodes | None
) -> APIRouter:
    """Return the discovery routes; account_nodes asks the cloud, if there is one."""
    router = APIRouter(prefix="/mds/v1", tags=["mDS: discovery"])

    @router.get("/nodes", summary="The nodes of a cluster", dependencies=[Depends(guard.viewer)])
    async def list_nodes(
        clusters: Annotated[Clusters, Query()] = Clusters.LINK_LOCAL,
    ) -> dict[str, Any]:
        if clusters is Clusters.LINK_LOCAL:
            data = [to_fields(record) for record in cluster.records()]
        elif account_nodes is None:
            data = [to_fields(node.record())]
        else:
            try:
                data = await account_nodes()
            except UplinkError as exc:
                raise Problem(
                    HTTPStatus.SERVICE_UNAVAILABLE, str(exc), {"Retry-After": "5"}
                ) from exc
        return {"type": str(clusters), "data": data}

    return router
