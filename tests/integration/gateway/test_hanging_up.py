"""A caller that hangs up ends its request everywhere, down to the microservice's handler."""

from pathlib import Path

import httpx
import pytest

from tests.programs import HECATE, run, until
from tests.system import Cloud, Gateway

SLOW = """
import asyncio

from microservice import Request, Response, Service

service = Service()
counts = {"began": 0, "ended": 0}


@service.get("/slow")
async def slow(_: Request) -> Response:
    counts["began"] += 1
    try:
        await asyncio.sleep(60)
    finally:
        counts["ended"] += 1
    return Response({})


@service.get("/counts")
async def show(_: Request) -> Response:
    return Response(counts)
"""
MANIFEST = """
name = "slow"
version = "1"

[http]
base = "/slow/v1"
expose = "public"
"""
CALLS = 16  # of one caller


# case CL3
def test_hanging_up_ends_the_handler(cloud: Cloud, tmp_path: Path) -> None:
    folder = tmp_path / "slow"
    folder.mkdir()
    (folder / "microservice.toml").write_text(MANIFEST)
    (folder / "service.py").write_text(SLOW)
    with Gateway(tmp_path / "node", **cloud.environ()) as node:
        node.until_ready()
        run((*HECATE, "deploy", str(folder)), HECATE_URL=node.url, HECATE_API_KEY=node.key)
        sep = f"{cloud.url}/sep/{node.node_id}/api/slow/v1"

        def counts() -> dict[str, int]:
            return dict(node.ask("GET", "/api/slow/v1/counts", "").json())

        limits = httpx.Limits(max_connections=CALLS)
        with httpx.Client(trust_env=False, limits=limits) as caller:
            for _ in range(CALLS):
                with pytest.raises(httpx.ReadTimeout):
                    caller.get(f"{sep}/slow", timeout=0.1)
            began = until(lambda: counts()["began"], "some calls reach the handler")
            until(lambda: counts()["ended"] >= began, "their handlers end")
            answer = httpx.get(f"{sep}/counts", trust_env=False, timeout=30)
            assert answer.status_code == 200, answer.text
            last = answer.json()
            assert last["began"] == last["ended"]
