from pathlib import Path

import pytest

from gateway.errors import GatewayError
from gateway.node.state_folder import SOCKET_PATH_LIMIT, hold_state, make_private, runtime_folder


def test_a_state_folder_has_one_gateway(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with (
        hold_state(state),
        pytest.raises(GatewayError, match="another gateway runs with it"),
        hold_state(state),
    ):
        pass
    with hold_state(state):
        assert state.stat().st_mode & 0o077 == 0


def test_a_state_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(GatewayError, match="HECATE_GATEWAY_NODE_STATE"),
        hold_state(tmp_path / "file" / "x"),
    ):
        pass


def test_sockets_lie_below_the_state_folder_unless_their_names_get_too_long() -> None:
    assert runtime_folder(Path("/srv/hecate"), "/run/user/1", 1) == Path("/srv/hecate/run")
    deep = Path("/srv") / ("x" * SOCKET_PATH_LIMIT)
    there = runtime_folder(deep, "/run/user/1", 1)
    assert there.parent == Path("/run/user/1")
    assert there == runtime_folder(deep, "/run/user/1", 1)
    assert there != runtime_folder(deep / "y", "/run/user/1", 1)
    assert runtime_folder(deep, "", 7).name.endswith("-7")


def test_a_private_folder_is_closed_to_others(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir(mode=0o777)
    assert make_private(folder).stat().st_mode & 0o777 == 0o700
