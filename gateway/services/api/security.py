"""Serves /mcm/v1/containers/{id}/security: the isolation of a container as a probe found it."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.http.parameters import PathText
from gateway.http.routes import ANY, ApiRoute, Operation
from gateway.services.api.calls import PREFIX, TAG, ClientCheck, errors_as_problems, mcm_route
from gateway.services.deployments import Deployed, Deployments
from microservice.isolation.findings import FINDINGS

_CONTAINER_ID = PathText("container_id")
_SHOW = Operation(TAG, "Get Container Security", parameters=(_CONTAINER_ID,), answer=ANY)


def security_routes(deployments: Deployments, check: ClientCheck) -> list[ApiRoute]:
    """Return the route about isolation."""

    async def get_security(request: Request, client_id: str) -> Response:
        with errors_as_problems():
            deployed = deployments.table.known(client_id, _CONTAINER_ID.read(request))
        return JSONResponse(_fields(deployed))

    path = f"{PREFIX}/containers/{{container_id}}/security"
    return [mcm_route(f"GET {path}", check, get_security, _SHOW)]


def _fields(deployed: Deployed) -> dict[str, Any]:
    stored, isolation = deployed.stored, deployed.supervisor.isolation
    findings = isolation.findings if isolation is not None else {}
    return {
        "id": stored.container_id,
        "name": stored.name,
        "state": deployed.supervisor.state.value,
        "findings": [
            {"name": name, "level": findings[name].level.value, "detail": findings[name].detail}
            for name in FINDINGS
            if name in findings
        ],
    }
