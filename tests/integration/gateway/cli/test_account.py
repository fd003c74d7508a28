"""`hecate account`, `hecate beps` and `hecate context` against a real gateway and cloud."""

import json
import re
import time
from pathlib import Path

import httpx
import pytest

from tests.commands import Person
from tests.programs import HECATE, Program
from tests.system import Cloud, Gateway

CLIMATE = "/api/climate/v1"


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Person:
    return Person(tmp_path_factory.mktemp("home"))


def test_a_context_says_which_gateway(person: Person, node: Gateway) -> None:  # case G19
    add = ("context", "add", "barn", "--url", node.url, "--key-file", "-")
    assert person.done(*add, given=f"{node.key}\n") == "context barn is added\n"
    file = person.home / ".config" / "hecate" / "contexts.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert "no gateway answers" in person.refused(
        "nodes", "--url", "http://127.0.0.1:1", HECATE_API_KEY="x"
    )
    named = person.done("--context", "barn", "nodes", "--json")
    assert json.loads(named)["data"][0]["id"] == node.node_id
    named = person.done("nodes", "--json", HECATE_CONTEXT="barn")
    assert json.loads(named)["data"][0]["id"] == node.node_id
    assert person.done("context", "use", "barn") == "context barn is in use\n"
    assert node.node_id in person.done("nodes")
    for shown in (("context",), ("context", "list"), ("context", "list", "--json")):
        listing = person.done(*shown)
        assert "barn" in listing
        assert node.key not in listing
    (_, barn) = json.loads(person.done("context", "--json"))
    assert (barn["current"], barn["has_key"], barn["url"]) == (True, True, node.url)
    assert "there is one; remove it first" in person.refused(*add, given="k")
    person.done("context", "rm", "barn")
    assert node.key not in file.read_text()
    assert "there is none of this name" in person.refused("context", "use", "barn")


def test_the_key_of_a_context_goes_to_its_gateway_only(person: Person, tmp_path: Path) -> None:
    add = ("context", "add", "far", "--url", "http://192.0.2.7", "--key-file", "-")
    person.done(*add, given="secret")
    for options in (("--url", "http://127.0.0.1:1"), ("--state", str(tmp_path))):
        error = person.refused("--context", "far", "nodes", *options)
        assert "cannot read API key" in error  # and not: no gateway answers at …
    person.done("context", "rm", "far")


def test_a_gateway_joins_an_account_by_its_code_and_leaves_it(
    person: Person, cloud: Cloud, node: Gateway
) -> None:  # case G19
    at = ("--url", node.url, "--state", str(node.state))
    assert person.done("account", *at) == "no account\n"
    assert "this node is in none" in person.refused("account", "leave", "--yes", *at)
    codes = json.loads(person.done("account", "join", "--no-wait", "--json", *at))["join"]
    assert "device_code" not in json.dumps(codes)
    assert codes["user_code"] in person.done("account", *at)
    assert "cannot sign in to the cloud" in person.refused(
        "account", "approve", codes["user_code"], *at
    )
    waiting = Program((*HECATE, "account", "join", *at), {"HOME": str(person.home)})
    with waiting:
        code = waiting.wait_for(r"^code (\S+),")[1]
        assert code == codes["user_code"]  # the same one while it is good
        token = person.home / "token"
        login = node.rpc("getEdgeIdToken")["id_token"]
        token.write_text(cloud.log_in(login))
        approve = ("account", "approve", code, "--token-file", str(token), "--json", *at)
        account_id = json.loads(person.done(*approve))["account_id"]
        assert waiting.wait_for("joined account")[0]
        assert waiting.wait() == 0
    assert json.loads(person.done("account", "--json", *at))["accountId"] == account_id
    assert "leave it first" in person.refused("account", "join", *at)
    assert "no terminal; give --yes" in person.refused("account", "leave", *at)
    assert person.done("account", "leave", "--yes", *at) == f"left account {account_id}\n"
    assert json.loads(person.done("account", "--json", *at))["accountId"] == ""
    node.until_ready()  # it has registered again, without an account
    assert node.status()["node"]["accountId"] == ""


def test_a_refused_gateway_says_so(person: Person, cloud: Cloud, node: Gateway) -> None:
    at = ("--url", node.url, "--state", str(node.state))
    token = person.home / "token"
    token.write_text(cloud.log_in(""))
    with Program((*HECATE, "account", "join", *at)) as waiting:
        code = waiting.wait_for(r"^code (\S+),")[1]
        refuse = ("account", "approve", code, "--refuse", "--token-file", str(token))
        assert "is refused by account acc-" in person.done(*refuse, *at)
        assert waiting.wait_for("^cannot join account: .*the owner of the account refused")
        assert waiting.wait() == 1
    assert person.done("account", *at) == "no account\n"


def test_beps_are_listed_and_ended(person: Person, cloud: Cloud, node: Gateway) -> None:  # case G7
    node.until_ready()
    node.rpc("associateAccount", cloud.log_in(node.rpc("getEdgeIdToken")["id_token"]))
    at = ("--url", node.url, "--state", str(node.state))
    person.done("deploy", "examples/climate", *at)
    assert person.done("beps", *at) == ""
    for number in range(3):
        code = person.done("code", "--ttl", str(600 + number), *at).strip()
        bep = f"{cloud.url}/sep/{node.node_id}{CLIMATE}/bep"
        httpx.get(bep, params={"hmac": code}, timeout=30, trust_env=False).raise_for_status()
    lines = person.done("beps", *at).splitlines()
    assert len(lines) == 4
    assert re.search(rf"^\S{{22}} +{CLIMATE} +open +0 now, 0 in all +0 B +in 59 min", lines[1])
    rows = json.loads(person.done("beps", "--json", *at))["data"]
    assert all(row["expires_at"] > time.time() for row in rows)
    first = rows[0]["id"]
    assert "there is none with this id" in person.refused("beps", "end", "nope", *at)
    assert person.done("beps", "end", first[:6], *at) == f"ended {first}\n"
    ended = json.loads(person.done("beps", "end", "--all", "--json", *at))["ended"]
    assert sorted(ended) == sorted(row["id"] for row in rows[1:])
    assert node.status()["beps"] == []
