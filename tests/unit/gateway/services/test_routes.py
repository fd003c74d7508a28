import pytest

from gateway.services.routes import ContainerRoute, Routes, bases_of

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
    owner = "api-soon" if clash == "/api/soon" else "api-climate"
    expected = None if clash is None else (base, clash, owner)
    assert routes.clash(("/free", base), "api-new", {"api-soon": ("/api/soon",)}) == expected


def test_a_containers_own_base_does_not_clash(routes: Routes) -> None:
    assert routes.clash(("/api/climate/v1",), "api-climate", {}) is None


@pytest.mark.parametrize(
    ("name", "env", "v1_paths", "bases"),
    [
        ("probe-v1", {}, False, ("/api/climate/v1",)),
        ("probe-v1", {"MCM.API_ALIAS": "true"}, False, ("/api/climate/v1", "/api/probe/v1")),
        ("probe-v2.1", {"MCM.API_ALIAS": "True"}, False, ("/api/climate/v1", "/api/probe/v2.1")),
        ("probe", {"MCM.API_ALIAS": "true"}, False, ("/api/climate/v1", "/api/probe/v1")),
        ("climate-v1", {"MCM.API_ALIAS": "true"}, False, ("/api/climate/v1",)),
        ("probe-v1", {"MCM.API_ALIAS": "false"}, True, ("/api/climate/v1", "/climate/v1")),
    ],
)
def test_aliases_follow_the_base(
    name: str, env: dict[str, str], v1_paths: bool, bases: tuple[str, ...]
) -> None:
    assert bases_of(name, "api", "/api/climate/v1", env, v1_paths=v1_paths) == bases
    assert bases_of(name, "api", "", env, v1_paths=v1_paths) == ()
