"""Images copied from node to node of an account, over the SEP."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.services.images.pack import pack_image, sign_packed
from tests.integration.gateway.services.world import write_service
from tests.system import Cloud, Gateway

IMAGE_ID = "api-probe-v1"


@pytest.fixture(scope="module")
def pair(
    cloud: Cloud, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Gateway, Gateway]]:
    """Give two gateways of one account."""
    folder = tmp_path_factory.mktemp("pair")
    with (
        Gateway(folder / "one", **cloud.environ()) as one,
        Gateway(folder / "two", **cloud.environ()) as two,
    ):
        for node in (one, two):
            node.until_ready()
            node.rpc("associateAccount", cloud.log_in(node.rpc("getEdgeIdToken")["id_token"]))
        yield one, two


def upload(node: Gateway, folder: Path) -> dict[str, object]:
    write_service(folder, '@service.get("/")\nasync def root(_): return {"answer": 42}\n')
    (folder / "data.bin").write_bytes(os.urandom(700_000))  # four ranges of the SEP
    answer = httpx.post(
        f"{node.url}/mcm/v1/images",
        content=sign_packed(pack_image(folder), [Ed25519PrivateKey.generate()]),
        headers={"Authorization": f"Bearer {node.key}"},
        trust_env=False,
        timeout=60,
    )
    assert answer.status_code == 201, answer.text
    stored: dict[str, object] = answer.json()
    return stored


def code_of(maker: Gateway, host: Gateway, expires: float = 0, image_id: str = IMAGE_ID) -> str:
    """Return a code that a member makes for an image of a host."""
    operation = f"/mcm/v1/images/{image_id}/tarball"
    expires = expires or time.time() * 1000 + 60_000  # milliseconds, as known clients send
    return str(
        maker.rpc("getEdgeHmacCode", "", str(int(expires)), host.node_id, operation)["edgeHmacCode"]
    )


def refusal(node: Gateway, *params: object) -> dict[str, Any]:
    call = {"method": "serviceMesh.addRegistryImage", "params": list(params)}
    error: dict[str, Any] = node.call("POST", "/jsonrpc/v1", json=call)["error"]
    return error


def test_an_image_comes_from_another_node(pair: tuple[Gateway, Gateway], tmp_path: Path) -> None:
    one, two = pair
    stored = upload(one, tmp_path / "src")
    code = code_of(two, one)
    added = two.rpc("serviceMesh.addRegistryImage", "", one.node_id, IMAGE_ID, code)
    assert (added["id"], added["digest"]) == (IMAGE_ID, stored["digest"])
    assert added["signedBy"] == stored["signedBy"] != []
    body = {"name": "probe", "image": "probe-v1"}
    assert two.call("POST", "/mcm/v1/containers", json=body)["state"] == "started"
    assert httpx.get(f"{two.url}/api/probe/v1/", trust_env=False).json() == {"answer": 42}


def test_without_a_good_code_no_image_comes(pair: tuple[Gateway, Gateway]) -> None:
    one, two = pair
    bad = {
        "expired": code_of(two, one, 1000),
        "of another node": code_of(two, two),
        "of another image": code_of(two, one, image_id="api-other-v1"),
        "none": "x",
    }
    for name, code in bad.items():
        error = refusal(two, "", one.node_id, IMAGE_ID, code)
        assert "answers with 403" in error["message"], name


def test_what_is_no_call_is_refused(pair: tuple[Gateway, Gateway]) -> None:
    one, two = pair
    bad: tuple[tuple[object, ...], ...] = (
        (), ("", "x", "y", "z"), ("", one.node_id, "../x", "z"), ("", 1, 2, 3)
    )  # fmt: skip
    for params in bad:
        assert refusal(two, *params)["code"] == -32602
    assert "cannot find node" in refusal(two, "", "0" * 56, IMAGE_ID, "x")["message"]


def test_a_token_of_the_account_manages_images_of_its_client(
    cloud: Cloud, pair: tuple[Gateway, Gateway], tmp_path: Path
) -> None:
    node = pair[0]
    token = cloud.log_in(node.rpc("getEdgeIdToken")["id_token"])
    write_service(tmp_path / "src", "x = 1\n", name="other")
    shown = {"Authorization": f"bearer {token}"}  # in lower case, as known clients send it
    options: dict[str, Any] = {"trust_env": False, "timeout": 60}
    sep = f"{cloud.url}/sep/{node.node_id}"
    for url in (node.url, sep):
        path, packed = f"{url}/mcm/v1/images", pack_image(tmp_path / "src")
        stored = httpx.post(path, content=packed, headers=shown, **options)
        assert stored.status_code == 201, stored.text
        client_id = str(stored.json()["id"]).removesuffix("-other-v1")
        assert client_id != "api"
        listed = httpx.get(path, headers=shown, **options).json()["data"]
        assert [image["id"] for image in listed] == [f"{client_id}-other-v1"]
        as_api = {**shown, "x-client-id": "api"}  # only the API key chooses
        assert httpx.get(path, headers=as_api, **options).json()["data"] == listed
        for headers in ({}, {"Authorization": f"Bearer {token[:-8]}AAAAAAAA"}):
            refused = httpx.get(path, headers=headers, **options)
            assert refused.status_code == 403
            assert refused.json()["error"]["message"].startswith("cannot ")
