"""A JavaScript microservice opens a BEP to itself, as the third of the four steps has it."""

import time
from pathlib import Path

import httpx

from gateway.services.images.pack import pack_image
from tests.system import Cloud, Gateway

SCRIPT = """
mimikModule.exports = (context, request, response) => {
  if (request.url === '/hello') return response.end('{"hello": 1}');
  if (request.url === '/peers') return context.http.request({
    url: 'http://localhost:' + context.info.httpPort + '/mds/v1/nodes?clusters=linkLocal',
    success: (result) => context.edge.decryptEncryptedNodesJson({
      type: 'local', data: JSON.stringify(JSON.parse(result.data).data), token: '',
      success: (opened) => response.end(JSON.stringify(
        JSON.parse(opened.data).localLinkNetwork.nodes.map((node) => node.id))),
      error: (fault) => { response.statusCode = 500; response.end(fault.message); },
    }),
    error: (fault) => { response.statusCode = 502; response.end(fault.message); },
  });
  context.edge.requestBep({
    code: request.url.split('=')[1],
    success: (result) => response.end(JSON.stringify({ href: result.data })),
    error: (fault) => { response.statusCode = 403; response.end(fault.message); },
  });
};
"""


def deploy(node: Gateway, folder: Path, name: str, env: dict[str, str]) -> str:
    (folder / "index.js").write_text(SCRIPT)
    (folder / "microservice.toml").write_text(f'name = "{name}"\n[http]\nbase = "/{name}/v1"\n')
    image = node.call("POST", "/mcm/v1/images", files={"image": ("i.tar", pack_image(folder))})
    body = {"name": name, "image": image["name"], "env": env}
    node.call("POST", "/mcm/v1/containers", json=body)
    return f"{node.url}/api/{name}/v1"


def code_for(node: Gateway) -> str:
    params = ("", str(int(time.time()) + 3600), node.node_id, "jsapi://requestBep")
    return str(node.rpc("getEdgeHmacCode", *params)["edgeHmacCode"])


def test_a_script_opens_a_bep_and_finds_nodes(cloud: Cloud, tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    with Gateway(tmp_path / "node", **cloud.environ()) as node:
        node.until_ready()
        node.rpc("associateAccount", cloud.log_in(node.rpc("getEdgeIdToken")["id_token"]))
        env = {"MCM.BEP_SUPPORT": "true", "MCM.EXPOSE": "public"}
        url = deploy(node, tmp_path / "code", "scripted", env)
        assert httpx.get(f"{url}/peers", trust_env=False, timeout=30).json() == [node.node_id]
        # by a path of its own: the gateway itself answers /bep of a container that allows BEPs
        bad = httpx.get(f"{url}/open?hmac=x", trust_env=False, timeout=30)
        assert (bad.status_code, bad.text[:7]) == (403, "cannot ")
        code = code_for(node)
        opened = httpx.get(f"{url}/open?hmac={code}", trust_env=False, timeout=30)
        href = opened.raise_for_status().json()["href"]
        with httpx.Client(trust_env=False, timeout=30) as visitor:
            assert visitor.get(f"{href}/api/scripted/v1/hello").json() == {"hello": 1}
        closed = deploy(node, tmp_path / "code", "closed", {})
        refused = httpx.get(f"{closed}/open?hmac={code}", trust_env=False, timeout=30)
        assert refused.status_code == 403
        assert "MCM.BEP_SUPPORT" in refused.text
        answer = node.call(
            "POST",
            "/jsonrpc/v1",
            json={"method": "requestBep", "params": [code, "/api/scripted/v1"]},
        )
        assert "only a container" in answer["error"]["message"]
