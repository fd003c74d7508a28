"""`hecate nodes` for an installer: odd terminals, options that exclude each other, no cloud."""

import json
import os
import subprocess
from collections.abc import Iterator

import pytest

from tests.programs import HECATE
from tests.system import Gateway

NAME = "[bold]k\u00fc[/red] \u5317 \U0001f600"


@pytest.fixture(scope="module")
def cut_off(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Give a gateway whose cloud does not answer."""
    environ = {
        "HECATE_GATEWAY_CLUSTER_ADMIT": "secret",
        "HECATE_GATEWAY_CLUSTER_SECRET": "x" * 20,
        "HECATE_GATEWAY_CLUSTER_PORT": "0",
        "HECATE_GATEWAY_CLUSTER_HOST": "127.0.0.1",
        "HECATE_GATEWAY_CLUSTER_DISCOVERY": "false",
        "HECATE_GATEWAY_CLOUD_URL": "http://127.0.0.1:1",
        "HECATE_GATEWAY_NODE_NAME": NAME,
    }
    with Gateway(tmp_path_factory.mktemp("cut off") / "state", **environ) as gateway:
        yield gateway


def nodes(
    gateway: Gateway, *options: str, command: str = "nodes", **environ: str
) -> tuple[int, str, str]:
    given = {"HECATE_URL": gateway.url, "HECATE_API_KEY": gateway.key, **environ}
    done = subprocess.run(
        [*HECATE, command, *options],
        env={**os.environ, **given},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def test_all_shows_this_network_also_when_the_cloud_is_away(cut_off: Gateway) -> None:
    code, shown, why = nodes(cut_off, "--all")
    assert (code, cut_off.node_id in shown, "linkLocal" in shown) == (1, True, True)
    assert why.startswith("the nodes of the account are missing: cannot get access token: ")
    assert "see `hecate status`" in why
    code, shown, _ = nodes(cut_off, "--all", "--json")
    answer = json.loads(shown)
    assert [each["id"] for each in answer["data"]] == [cut_off.node_id]
    assert (code, answer["error"]) == (1, why.strip())


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_names_are_shown_by_any_terminal_and_read_by_any_program(
    cut_off: Gateway, encoding: str
) -> None:
    environ = {"PYTHONIOENCODING": encoding, "COLUMNS": "20", "TERM": "dumb", "NO_COLOR": "1"}
    code, shown, _ = nodes(cut_off, **environ)
    assert (code, cut_off.node_id in shown) == (0, True)
    assert encoding != "utf-8" or NAME in shown
    code, shown, _ = nodes(cut_off, "--json", **environ)
    assert code == 0
    assert json.loads(shown)["data"][0]["name"] == NAME


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--all", "--refused"), "give one of --all and --refused"),
        (("--refused", "--cluster", "account"), "give one of --refused and --cluster"),
        (("--radius", "5"), "--radius needs --cluster proximity"),
        (("--radius", "5", "--cluster", "account"), "--radius needs --cluster proximity"),
        (("--radius", "99999999", "--cluster", "proximity"), "less than or equal"),
    ],
)
def test_options_that_mean_nothing_together_are_refused(
    cut_off: Gateway, options: tuple[str, ...], why: str
) -> None:
    code, shown, told = nodes(cut_off, *options)
    assert (code, shown) == (2, "")
    assert why in told


def test_refused_nodes_and_names_that_are_none(cut_off: Gateway) -> None:
    assert nodes(cut_off, "--refused") == (0, "", "no node was refused\n")
    assert json.loads(nodes(cut_off, "--refused", "--json")[1]) == {"data": []}
    code, _, why = nodes(cut_off, "", command="route")
    assert (code, "its name is empty" in why) == (1, True)


def test_without_a_gateway_it_says_what_to_do(cut_off: Gateway) -> None:
    nowhere = {"HECATE_URL": "http://127.0.0.1:1"}
    for options in ((), ("--all",), ("--refused",)):
        code, shown, why = nodes(cut_off, *options, **nowhere)
        assert (code, shown) == (1, "")
        assert "no gateway answers at http://127.0.0.1:1; start one with `hecate up`" in why
        assert json.loads(nodes(cut_off, *options, "--json", **nowhere)[1])["error"] == why.strip()
