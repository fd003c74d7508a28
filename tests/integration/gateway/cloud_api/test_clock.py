"""A gateway whose clock is not the cloud's."""

import sys
from pathlib import Path

import httpx
import pytest

from tests.system import Cloud, Gateway

SERVE = """
import sys, time
real = time.time
time.time = lambda: real() + {offset_s}
from gateway.cli.serve import main
sys.exit(main([]))
"""


class Wrong(Gateway):
    """A gateway on a machine whose clock is wrong."""

    def __init__(self, state: Path, cloud: Cloud, offset_s: float) -> None:
        self._offset_s = offset_s
        super().__init__(state, **cloud.environ())

    def command(self) -> tuple[str, ...]:
        return (sys.executable, "-c", SERVE.format(offset_s=self._offset_s))


# case G11
@pytest.mark.parametrize(
    ("offset_s", "note"),
    [
        (60, "clock 60 s ahead of the cloud's"),
        (-600, "clock 600 s behind the cloud's"),
        (-200_000_000, "clock 200000000 s behind the cloud's"),  # no battery
    ],
)
def test_a_wrong_clock_is_measured_allowed_for_and_shown(
    cloud: Cloud, tmp_path: Path, offset_s: float, note: str
) -> None:
    with Wrong(tmp_path, cloud, offset_s) as gateway:
        gateway.until_ready()
        clock = gateway.status()["sep"]["clock"]
        assert abs(clock["offset_s"] + offset_s) < 2
        said, expected = clock["note"].split(), note.split()
        assert abs(int(said[1]) - int(expected[1])) <= 1
        assert said[2:] == expected[2:]
        answer = httpx.get(f"{cloud.url}/sep/{gateway.node_id}/healthz", trust_env=False)
        assert answer.status_code == 200, answer.text
        token = cloud.log_in(gateway.rpc("getEdgeIdToken")["id_token"])
        gateway.rpc("associateAccount", token)
        with_token = {"Authorization": f"Bearer {token}"}
        owned = httpx.get(
            f"{cloud.url}/sep/{gateway.node_id}/status/v1", headers=with_token, trust_env=False
        )
        assert owned.status_code == 200, owned.text
        assert any("the cloud's: corrected by" in line for line in gateway.program.lines)


def test_a_right_clock_is_not_mentioned(node: Gateway) -> None:
    assert node.status()["sep"]["clock"] == {"offset_s": 0.0, "note": ""}
