import json
from pathlib import Path
from typing import Any

from gateway.access.guard import Guard
from gateway.http.routes import ApiRoute
from gateway.services import ServiceLimits
from gateway.services.api.calls import ClientCheck, McmAccess
from gateway.services.api.rollouts import rollout_routes
from gateway.services.api.routes import McmParts, mcm_routes
from gateway.sidecar.app import SidecarParts, describe_sidecar, sidecar_routes
from settings.secret import Secret

DOCUMENT = Path(__file__).with_name("openapi.json")


class Unused:
    """Stands for parts that routes call only when they answer."""

    def mcm_routes(self, _check: ClientCheck, access: McmAccess) -> list[ApiRoute]:
        unused: Any = Unused()
        return mcm_routes(McmParts(unused, unused, unused, ServiceLimits()), access)


class UnusedRollouts:
    """Stands for the roll-outs of a node with a cloud."""

    def routes(self, guard: Guard, _access: McmAccess) -> list[ApiRoute]:
        unused: Any = Unused()
        return rollout_routes(unused, unused, unused, ServiceLimits(), guard.client_id)


def routes() -> list[ApiRoute]:
    unused: Any = Unused()
    guard = Guard(Secret("key"), unused)
    return sidecar_routes(
        SidecarParts(
            guard=guard,
            status=unused,
            node=unused,
            cluster=unused,
            admission=unused,
            links=None,
            sensors=unused,
            services=unused,
            nodes=None,
            cloud=None,
            clock=lambda: 0.0,
        ),
        unused,
        UnusedRollouts(),  # type: ignore[arg-type]  # stands for those of a node with a cloud
    )


def test_the_openapi_document_is_the_published_one() -> None:
    published, made = json.loads(DOCUMENT.read_text()), describe_sidecar(routes())
    assert made["info"].pop("version")
    del published["info"]["version"]
    assert json.loads(json.dumps(made)) == published


def test_every_reference_of_the_document_leads_somewhere() -> None:
    document = describe_sidecar(routes())
    for reference in _references(document):
        name = reference.removeprefix("#/components/schemas/")
        assert name in document["components"]["schemas"], reference


def _references(value: Any) -> list[str]:
    if isinstance(value, list):
        return [found for each in value for found in _references(each)]
    if not isinstance(value, dict):
        return []
    found = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
    return found + [each for inner in value.values() for each in _references(inner)]
