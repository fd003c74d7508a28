"""Rights and users taken away while the broker is down: the next start asks again."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.broker_access.conftest import ALONE, Alone, rights, users

Start = Callable[..., Alone]

STORED = ALONE + '[storage]\nfolder = "data"\n'
ALL = "user root\ntopic #\nuser anna\ntopic #\n"


# case B4
@pytest.mark.parametrize("taken", ["right", "user"])
def test_what_somebody_left_goes_with_the_right_to_it(
    alone: Start, tmp_path: Path, taken: str
) -> None:
    users(tmp_path, root="r", anna="a")
    rights(tmp_path, ALL)
    broker = alone(STORED)
    with broker.client("anna", "a") as anna, broker.client("root", "r") as root:
        for client in (anna, root):
            assert client.connect("127.0.0.1", broker.port)[1] == "Success"
        anna.publish("a/1", b"anna's", 1, retain=True)
        root.publish("a/2", b"root's", 1, retain=True)
    assert broker.program.stop() == 0
    if taken == "right":
        rights(tmp_path, ALL.replace("anna\ntopic #", "anna\ntopic read #"))
    else:
        users(tmp_path, root="r")
    broker = alone(STORED)
    with broker.client("root", "r") as root:
        assert root.connect("127.0.0.1", broker.port)[1] == "Success"
        root.subscribe("#", 1)
        assert root.take().payload == b"root's"
        root.publish("end", b"end", 1)
        assert root.take().payload == b"end"
