"""The proxy in front of processes that a test plays, behind a real HTTP server."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from gateway.services.containers import ContainerState
from gateway.services.limits import ServiceLimits
from gateway.services.proxy.containers import ContainerProxy
from gateway.services.routes import ContainerRoute
from web import HttpLimits, HttpServer, listen_unix
from web.asgi import Receive, Scope, Send

if TYPE_CHECKING:
    from gateway.services.supervisor import Supervisor

ROUTE = ContainerRoute("api-probe", "/api/probe/v1", "node", bep=False)
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Front:
    """A proxy, and the supervisor that it asks."""

    path: Path
    proxy: ContainerProxy
    supervisor: Any
    folder: Path
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    servers: list[asyncio.Server] = field(default_factory=list)

    def run(self, socket: Path) -> None:
        """Let the container's process be the one behind a socket."""
        self.supervisor.process = SimpleNamespace(http_socket=socket)

    async def process(self, name: str, serve: Serve) -> tuple[Path, asyncio.Server]:
        """Start a process that serves connections."""

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self.tasks.add(task)
            try:
                with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                    await serve(reader, writer)
            finally:
                writer.close()

        server = await asyncio.start_unix_server(accept, self.folder / name)
        self.servers.append(server)
        return self.folder / name, server

    async def ask(self, request: bytes) -> bytes:
        """Return the bytes that come back until the end."""
        reader, writer = await asyncio.open_unix_connection(self.path)
        writer.write(request)
        try:
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()


@contextlib.asynccontextmanager
async def front(
    folder: Path, runtime: str = "python", env: dict[str, str] | None = None, **limits: Any
) -> AsyncIterator[Front]:
    version = SimpleNamespace(runtime=runtime, env=env or {})
    supervisor = SimpleNamespace(
        process=None,
        version=version,
        state=ContainerState.STARTED,
        answering=lambda _: contextlib.nullcontext(),
    )
    proxy = ContainerProxy(lambda _: cast("Supervisor", supervisor), ServiceLimits(**limits))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await proxy.serve(ROUTE, scope, receive, send)

    server = HttpServer(app, HttpLimits(stop_s=1))
    path = folder / "front.sock"
    serving = asyncio.create_task(server.run_on(listen_unix(path)))
    await server.listening.wait()
    made = Front(path, proxy, supervisor, folder)
    try:
        yield made
    finally:
        server.stop()
        await serving
        proxy.close()
        for each in made.servers:
            each.close()
        for task in made.tasks:
            task.cancel()
        await asyncio.gather(*made.tasks, return_exceptions=True)
