"""Requests of JavaScript containers, as compatible images send them."""

import asyncio
from pathlib import Path
from typing import Any

from tests.integration.gateway.services.egress.harness import answering, target
from tests.integration.gateway.services.world import world

CODE = """
mimikModule.exports = (context, request, response) => {
  if (request.url === '/who') {
    return response.end(JSON.stringify({caller: request.headers['x-hecate-caller'] || ''}));
  }
  context.http.request({
    url: decodeURIComponent(request.url.slice(1)),
    success: (result) => response.end(JSON.stringify({data: result.data})),
    error: (error) => response.end(JSON.stringify({error: error.message})),
  });
};
"""
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\noutside"


def test_a_script_calls_its_gateway_itself_and_what_its_deployer_allows(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here, target(answering(OK)) as port:
            folder = tmp_path / "probe"
            folder.mkdir()
            (folder / "index.js").write_text(CODE)
            (folder / "microservice.toml").write_text(
                'name = "probe"\n[http]\nbase = "/probe/v1"\n'
            )
            image = (await here.upload(folder)).json()["name"]
            for name, env in (("shut", {}), ("open", {"MCM.NETWORK_ALLOW": f"127.0.0.1:{port}"})):
                env["MCM.BASE_API_PATH"] = f"/{name}/v1"
                created = await here.create(name, image, env)
                assert created.status_code == 201, created.text

            async def fetch(name: str, url: str) -> Any:
                escaped = url.replace("/", "%2F").replace(":", "%3A")
                return (await here.http.get(f"/api/{name}/v1/{escaped}")).json()

            outside = f"http://127.0.0.1:{port}/"
            assert await fetch("open", outside) == {"data": "outside"}
            assert "add it to [network] allow" in (await fetch("shut", outside))["error"]
            # without a scheme, as some images call the gateway, and back to itself
            seen = await fetch("shut", "127.0.0.1:8083/api/shut/v1/who")
            assert seen == {"data": '{"caller":"api-shut"}'}
            seen = await fetch("shut", "http://api-open.service.hecate/who")
            assert seen == {"data": '{"caller":"api-shut"}'}

    asyncio.run(run())
