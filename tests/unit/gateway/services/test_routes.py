import pytest

from gateway.services.routes import ContainerRoute, Routes

CLIMATE = ContainerRoute("api-climate", "/api/climate/v1", "public", True)
LIGHTS = ContainerRoute("api-lights", "/api/lights", "node", False)


@pytest.fixture
def routes() -> Routes:
    routes = Routes()
    routes.replace([CLIMATE, LIGHTS, ContainerRoute("api-quiet", "", "node", False)])
    return routes


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/api/climate/v1", CLIMATE),
        ("/api/climate/v1/", CLIMATE),
        ("/api/climate/v1/rooms/attic", CLIMATE),
        ("/api/lights/x", LIGHTS),
        ("/api/climate/v10", None),
        ("/api/climate", None),
        ("/api", None),
        ("/", None),
        ("", None),
        ("api/lights", None),
    ],
)
def test_a_path_leads_to_the_container_below_whose_base_it_lies(
    routes: Routes, path: str, route: ContainerRoute | None
) -> None:
    assert routes.find(path) == route


@pytest.mark.parametrize(
    ("base", "clash"),
    [
        ("/api/climate/v1", "/api/climate/v1"),
        ("/api/climate", "/api/climate/v1"),
        ("/api/climate/v1/rooms", "/api/climate/v1"),
        ("/api/climate/v2", None),
        ("/api/climate/v10", None),
        ("/api/soon/v1", "/api/soon"),
    ],
)
def test_bases_may_not_overlap(routes: Routes, base: str, clash: str | None) -> None:
    assert routes.clash(base, "api-new", {"api-soon": "/api/soon"}) == clash


def test_a_containers_own_base_does_not_clash(routes: Routes) -> None:
    assert routes.clash("/api/climate/v1", "api-climate", {}) is None
