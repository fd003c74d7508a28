"""`hecate account`, `hecate beps` and `hecate context` against a real gateway and cloud."""

import json
import os
import re
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from tests.integration.gateway.peers import Cloud, Gateway
from tests.programs import HECATE, ROOT, Program

CLIMATE = "/api/climate/v1"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a person's home, with what their commands keep."""
    return tmp_path_factory.mktemp("home")


def hecate(
    home: Path, *words: str, given: str = "", **environ: str
) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("HECATE_")}
    return subprocess.run(
        (*HECATE, *words),
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
        env={**kept, "HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config"), **environ},
    )


def done(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 0, result.stderr
    return result.stdout


def refused(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 1, result.stdout
    assert result.stdout == ""
    assert result.stderr.startswith("cannot ")
    assert "Traceback" not in result.stderr
    return result.stderr


def test_a_context_says_which_gateway(home: Path, node: Gateway) -> None:  # case G19
    add = ("context", "add", "barn", "--url", node.url, "--key-file", "-")
    assert done(hecate(home, *add, given=f"{node.key}\n")) == "context barn is added\n"
    file = home / ".config" / "hecate" / "contexts.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert "no gateway answers" in refused(
        hecate(home, "nodes", "--url", "http://127.0.0.1:1", HECATE_API_KEY="x")
    )
    named = hecate(home, "--context", "barn", "nodes", "--json")
    assert json.loads(done(named))["data"][0]["id"] == node.node_id
    named = hecate(home, "nodes", "--json", HECATE_CONTEXT="barn")
    assert json.loads(done(named))["data"][0]["id"] == node.node_id
    assert done(hecate(home, "context", "use", "barn")) == "context barn is in use\n"
    assert node.node_id in done(hecate(home, "nodes"))
    for shown in (("context",), ("context", "list"), ("context", "list", "--json")):
        listing = done(hecate(home, *shown))
        assert "barn" in listing
        assert node.key not in listing
    (_, barn) = json.loads(done(hecate(home, "context", "--json")))
    assert (barn["current"], barn["has_key"], barn["url"]) == (True, True, node.url)
    assert "there is one; remove it first" in refused(hecate(home, *add, given="k"))
    done(hecate(home, "context", "rm", "barn"))
    assert node.key not in file.read_text()
    assert "there is none of this name" in refused(hecate(home, "context", "use", "barn"))


def test_the_key_of_a_context_goes_to_its_gateway_only(home: Path, tmp_path: Path) -> None:
    done(hecate(home, "context", "add", "far", "--url", "http://192.0.2.7", "--key-file", "-",
                given="secret"))  # fmt: skip
    for options in (("--url", "http://127.0.0.1:1"), ("--state", str(tmp_path))):
        error = refused(hecate(home, "--context", "far", "nodes", *options))
        assert "cannot read API key" in error  # and not: no gateway answers at …
    done(hecate(home, "context", "rm", "far"))


def test_a_gateway_joins_an_account_by_its_code_and_leaves_it(
    home: Path, cloud: Cloud, node: Gateway
) -> None:  # case G19
    at = ("--url", node.url, "--state", str(node.state))
    assert done(hecate(home, "account", *at)) == "no account\n"
    assert "this node is in none" in refused(hecate(home, "account", "leave", "--yes", *at))
    codes = json.loads(done(hecate(home, "account", "join", "--no-wait", "--json", *at)))["join"]
    assert "device_code" not in json.dumps(codes)
    assert codes["user_code"] in done(hecate(home, "account", *at))
    assert "cannot sign in to the cloud" in refused(
        hecate(home, "account", "approve", codes["user_code"], *at)
    )
    waiting = Program((*HECATE, "account", "join", *at), {"HOME": str(home)})
    with waiting:
        code = waiting.wait_for(r"^code (\S+),")[1]
        assert code == codes["user_code"]  # the same one while it is good
        token = home / "token"
        login = node.rpc("getEdgeIdToken")["id_token"]
        token.write_text(cloud.log_in(login))
        approve = ("account", "approve", code, "--token-file", str(token), "--json", *at)
        account_id = json.loads(done(hecate(home, *approve)))["account_id"]
        assert waiting.wait_for("joined account")[0]
        assert waiting.wait() == 0
    assert json.loads(done(hecate(home, "account", "--json", *at)))["accountId"] == account_id
    assert "leave it first" in refused(hecate(home, "account", "join", *at))
    assert "no terminal; give --yes" in refused(hecate(home, "account", "leave", *at))
    assert done(hecate(home, "account", "leave", "--yes", *at)) == f"left account {account_id}\n"
    assert json.loads(done(hecate(home, "account", "--json", *at)))["accountId"] == ""
    node.until_ready()  # it has registered again, without an account
    assert node.status()["node"]["accountId"] == ""


def test_beps_are_listed_and_ended(home: Path, cloud: Cloud, node: Gateway) -> None:  # case G7
    node.until_ready()
    node.rpc("associateAccount", cloud.log_in(node.rpc("getEdgeIdToken")["id_token"]))
    at = ("--url", node.url, "--state", str(node.state))
    done(hecate(home, "deploy", "examples/climate", *at))
    assert done(hecate(home, "beps", *at)) == ""
    for number in range(3):
        code = done(hecate(home, "code", "--ttl", str(600 + number), *at)).strip()
        bep = f"{cloud.url}/sep/{node.node_id}{CLIMATE}/bep"
        httpx.get(bep, params={"hmac": code}, timeout=30, trust_env=False).raise_for_status()
    lines = done(hecate(home, "beps", *at)).splitlines()
    assert len(lines) == 4
    assert re.search(rf"^\S{{22}} +{CLIMATE} +open +0 now, 0 in all +0 B +in 59 min", lines[1])
    rows = json.loads(done(hecate(home, "beps", "--json", *at)))["data"]
    assert all(row["expires_at"] > time.time() for row in rows)
    first = rows[0]["id"]
    assert "there is none with this id" in refused(hecate(home, "beps", "end", "nope", *at))
    assert done(hecate(home, "beps", "end", first[:6], *at)) == f"ended {first}\n"
    ended = json.loads(done(hecate(home, "beps", "end", "--all", "--json", *at)))["ended"]
    assert sorted(ended) == sorted(row["id"] for row in rows[1:])
    assert node.status()["beps"] == []
