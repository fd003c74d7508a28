"""Maps request paths to containers."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

API_ALIAS_KEY = "MCM.API_ALIAS"  # "true" in a container's environment opens /api/<name>/<version>

_VERSIONED = re.compile(r"(.+)-(v[A-Za-z0-9.]{1,16})")


@dataclass(frozen=True, slots=True)
class ContainerRoute:
    """The path of a microservice and its allowed callers."""

    container_id: str
    base: str  # with the client id: /api/climate/v1
    expose: str
    bep: bool


class Routes:
    """All routes; no base lies below another, so a path leads to one container at most."""

    def __init__(self) -> None:
        self._by_base: dict[str, ContainerRoute] = {}

    def find(self, path: str) -> ContainerRoute | None:
        """Return the route of a path, or None."""
        end = len(path)
        while end > 0:
            route = self._by_base.get(path[:end])
            if route is not None:
                return route
            end = path.rfind("/", 0, end)
        return None

    def clash(
        self, bases: Iterable[str], container_id: str, reserved: Mapping[str, Iterable[str]]
    ) -> tuple[str, str, str] | None:
        """Return a base, another container's that it would lie above, below or upon, and its id.

        Args:
            bases: of the container.
            container_id: whose routes do not count.
            reserved: bases of other containers, by id, that have no routes yet.
        """
        routes = self._by_base.values()
        others = [(r.base, r.container_id) for r in routes if r.container_id != container_id]
        others += [(base, owner) for owner, of_one in reserved.items() for base in of_one]
        for base in bases:
            for other, owner in others:
                if f"{base}/".startswith(f"{other}/") or f"{other}/".startswith(f"{base}/"):
                    return base, other, owner
        return None

    def replace(self, routes: Iterable[ContainerRoute]) -> None:
        """Replace all routes."""
        self._by_base = {route.base: route for route in routes if route.base}


def bases_of(
    name: str, client_id: str, base: str, env: Mapping[str, str], *, v1_paths: bool
) -> tuple[str, ...]:
    """Return the paths of a container: its base first, then its aliases.

    Args:
        name: of the container.
        client_id: of its owner.
        base: with the client id; "" when it answers no HTTP.
        env: its environment.
        v1_paths: whether it also answers at its base without the client id.
    """
    if not base:
        return ()
    found = [base]
    if env.get(API_ALIAS_KEY, "").lower() == "true":
        versioned = _VERSIONED.fullmatch(name)
        service, version = (versioned[1], versioned[2]) if versioned else (name, "v1")
        found.append(f"/api/{service}/{version}")
    if v1_paths:
        found.append(base.removeprefix(f"/{client_id}"))
    return tuple(dict.fromkeys(found))
