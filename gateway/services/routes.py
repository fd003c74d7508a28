"""Maps request paths to containers."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


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

    def clash(self, base: str, container_id: str, reserved: Mapping[str, str]) -> str | None:
        """Return another container's base that this one would lie above, below or upon.

        Args:
            base: of the container.
            container_id: whose routes do not count.
            reserved: bases of other containers, by id, that have no routes yet.
        """
        others = [r.base for r in self._by_base.values() if r.container_id != container_id]
        for other in (*others, *reserved.values()):
            if f"{base}/".startswith(f"{other}/") or f"{other}/".startswith(f"{base}/"):
                return other
        return None

    def replace(self, routes: Iterable[ContainerRoute]) -> None:
        """Replace all routes."""
        self._by_base = {route.base: route for route in routes if route.base}
