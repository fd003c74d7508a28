"""Bulk requests to a node of the account go through a BEP, with a real cloud and its relay."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from protocol.envelope import BODY_LIMIT_BYTES
from tests.integration.gateway.nodes import Node
from tests.integration.gateway.services.world import write_service
from tests.programs import HECATE, ROOT, run, until
from tests.system import start_cloud

pytestmark = pytest.mark.slow

CODE = """
@service.post("/echo")
async def echo(request):
    return await request.body()
"""
BODY = os.urandom(4 * BODY_LIMIT_BYTES)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, Node]]:
    """Give two nodes of an account that no network joins; the second one has services."""
    folder = tmp_path_factory.mktemp("bulk")
    with ExitStack() as stack:
        cloud = start_cloud(folder / "cloud")
        stack.enter_context(cloud.program)
        caller = stack.enter_context(Node(folder / "caller", cloud))
        callee = stack.enter_context(Node(folder / "callee", cloud))
        for name, toml in (("films", "bep = true\n"), ("closed", "")):
            code = write_service(folder / name, CODE, name=name, toml=f'expose = "public"\n{toml}')
            run((*HECATE, "deploy", str(code)), HECATE_URL=callee.url, HECATE_API_KEY=callee.key)
        until(lambda: "closed" in caller.ask("GET", "/mds/v1/nodes?clusters=account").text)
        yield caller, callee


def call(caller: Node, *words: str, body: bytes = BODY) -> tuple[bytes, str]:
    done = subprocess.run(
        (*HECATE, "call", *words, "-d", "-"),
        input=body,
        capture_output=True,
        check=False,
        cwd=ROOT,
        timeout=90,
        env={**os.environ, "HECATE_URL": caller.url, "HECATE_API_KEY": caller.key},
    )
    return done.stdout, done.stderr.decode()


def test_a_body_that_no_sep_carries_goes_through_a_tunnel(pair: tuple[Node, Node]) -> None:
    caller, callee = pair
    answer, error = call(caller, callee.node_id, "/api/films/v1/echo", "--bulk")
    assert (answer == BODY, error) == (True, "")
    (bep,) = callee.status()["beps"]
    assert bep["bytes_total"] > 2 * len(BODY)
    again, _ = call(caller, callee.node_id, "/api/films/v1/echo", "--bulk", body=b"again")
    assert again == b"again"
    assert [each["id"] for each in callee.status()["beps"]] == [bep["id"]]


def test_without_the_wish_it_is_too_large(pair: tuple[Node, Node]) -> None:
    caller, callee = pair
    answer, error = call(caller, callee.node_id, "/api/films/v1/echo")
    assert answer == b""
    assert "more than 262144 bytes through the cloud" in error


def test_a_service_without_beps_is_called_through_the_cloud(pair: tuple[Node, Node]) -> None:
    caller, callee = pair
    answer, _ = call(caller, callee.node_id, "/api/closed/v1/echo", "--bulk", body=b"small")
    assert answer == b"small"
    assert all("closed" not in each["label"] for each in callee.status()["beps"])
