"""Gives the paths of a node to its containers: no path leads to two of them.

A path is reserved while its version starts, so that two deployments at a time cannot share one.
"""

import contextlib
from collections.abc import Iterable, Iterator

from gateway.services.errors import ConflictError
from gateway.services.images.catalogue import StoredContainer
from gateway.services.routes import ContainerRoute, Routes, bases_of
from gateway.services.runtimes.port import Version

BASE_KEY = "MCM.BASE_API_PATH"  # in the environment; wins over the manifest
# first parts of paths that the gateway answers itself; only paths without a client id meet them
RESERVED = frozenset(
    {"account", "api", "beps", "devices", "healthz", "jsonrpc", "mcm", "mds", "metrics", "mip",
     "openapi.json", "readyz", "status", "ws"}
)  # fmt: skip


class ContainerPaths:
    """The routes of all containers, and those that versions being started will have."""

    def __init__(self, *, v1_paths: bool) -> None:
        self._v1_paths = v1_paths
        self._reserved: dict[str, tuple[str, ...]] = {}
        self.routes = Routes()

    @contextlib.contextmanager
    def reserve(
        self, container_id: str, name: str, client_id: str, version: Version
    ) -> Iterator[None]:
        """Keep the paths of a version; ConflictError when one is another container's."""
        bases = self._bases(name, client_id, version)
        others = {i: b for i, b in self._reserved.items() if i != container_id}
        clash = self.routes.clash(bases, container_id, others)
        if clash is not None:
            base, other, owner = clash
            raise ConflictError(
                f"cannot deploy {container_id}: {base} overlaps with {other} of {owner}; "
                f"give it another [http] base or {BASE_KEY}, or remove {owner}"
            )
        if self._v1_paths and bases and bases[-1].split("/")[1] in RESERVED:
            raise ConflictError(
                f"cannot deploy {container_id}: {bases[-1]} is a path of the gateway itself"
            )
        self._reserved[container_id] = bases
        try:
            yield
        finally:
            self._reserved.pop(container_id, None)

    def update(self, containers: Iterable[tuple[StoredContainer, Version]]) -> None:
        """Replace the routes by those of the versions that run."""
        self.routes.replace(
            ContainerRoute(stored.container_id, base, http.expose, http.bep)
            for stored, version in containers
            for http in (version.manifest.http,)
            for base in self._bases(stored.name, stored.client_id, version)
        )

    def _bases(self, name: str, client_id: str, version: Version) -> tuple[str, ...]:
        return bases_of(name, client_id, version.base, version.env, v1_paths=self._v1_paths)
