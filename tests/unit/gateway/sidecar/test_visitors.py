import asyncio

from gateway.http.origin import KEY
from gateway.sidecar.visitors import Visitors
from web.asgi import Receive, Scope, Send

BEP = "abcdefghijklmnopqrstuv"


def visit(raw_path: str, path: str | None = None) -> tuple[Scope | None, int]:
    seen: list[Scope] = []
    statuses: list[int] = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(scope)

    async def receive() -> dict[str, object]:
        raise AssertionError

    async def send(event: Scope) -> None:
        if event["type"] == "http.response.start":
            statuses.append(event["status"])

    scope = {
        "type": "http",
        "method": "GET",
        "headers": [],
        "path": raw_path if path is None else path,
        "raw_path": raw_path.encode(),
    }
    asyncio.run(Visitors(app, lambda: {BEP})(scope, receive, send))
    return (seen[0] if seen else None), (statuses[0] if statuses else 0)


def test_the_bep_id_is_taken_off() -> None:
    scope, _ = visit(f"/{BEP}/api/climate/v1/rooms/a%20b", f"/{BEP}/api/climate/v1/rooms/a b")
    assert scope is not None
    assert scope["path"] == "/api/climate/v1/rooms/a b"
    assert scope["raw_path"] == b"/api/climate/v1/rooms/a%20b"
    assert scope[KEY] == "bep"


def test_a_bep_without_a_path() -> None:
    for path in (f"/{BEP}", f"/{BEP}/"):
        scope, _ = visit(path)
        assert scope is not None
        assert (scope["path"], scope["raw_path"]) == ("/", b"/")


def test_other_paths_lead_nowhere() -> None:
    other = "x" * 22
    for path in (
        "/",
        f"/{other}/api",
        f"/{BEP}x/api",
        f"//{BEP}/api",
        "/api",
        f"/api/{BEP}",
        f"*{BEP}",
        "",
    ):
        assert visit(path) == (None, 404)
    assert visit(f"/%61{BEP[1:]}/api", f"/{BEP}/api") == (None, 404)
