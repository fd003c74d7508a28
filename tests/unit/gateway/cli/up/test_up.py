import os
import socket
import stat
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.cli.errors import CliError
from gateway.cli.up.account import write_secret
from gateway.cli.up.lock import hold
from gateway.cli.up.plan import Plan, PortNumbers, PortUse
from gateway.cli.up.ports import check_ports
from gateway.cli.up.ready import CloudReady, GatewayReady, parse_cloud_ready, parse_gateway_ready
from gateway.cli.up.suggestions import Endpoints, list_tries, shell_word
from settings.secret import Secret
from tests.unit.gateway.cli.view.status_documents import NODE_ID

WHERE = Endpoints(
    hecate="hecate",
    api="http://127.0.0.1:8083",
    cloud="http://127.0.0.1:8080",
    mqtt=("127.0.0.1", 1883),
    cloud_mqtt=("127.0.0.1", 1884),
    node_id=NODE_ID,
    account_id="acc-1",
    service_path="/api/climate/v1",
    device_id="dev-0123456789ab",
    cloud_token="'/tmp/a folder/cloud-token'",
    target_options="--state '/tmp/a folder'",
    has_mosquitto=True,
)


def test_the_ready_lines() -> None:
    line = "cloud ready: API http://127.0.0.1:8080, MQTT 127.0.0.1:1884, relay [::1]:8443"
    assert parse_cloud_ready(line) == CloudReady(
        "http://127.0.0.1:8080", ("127.0.0.1", 1884), ("::1", 8443)
    )
    line = (
        "gateway ready: node 5f1c9bababab, MQTT 127.0.0.1:1883, API http://127.0.0.1:8083, "
        "supernode, SEP connecting"
    )
    assert parse_gateway_ready(line) == GatewayReady(("127.0.0.1", 1883), "http://127.0.0.1:8083")


@pytest.mark.parametrize("line", ["", "INFO cloud ready", "gateway ready: soon"])
def test_other_lines_are_not_ready_lines(line: str) -> None:
    assert parse_cloud_ready(line) is None
    assert parse_gateway_ready(line) is None


def test_a_taken_port_is_named_with_its_setting() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        plan = Plan(Path("/tmp/x"), PortNumbers(mqtt=port, api=0, cloud=0, cloud_mqtt=0, relay=0))
        with pytest.raises(CliError) as caught:
            check_ports(plan.port_uses())
    assert str(caught.value) == (
        f"cannot start: port {port} (MQTT of the gateway) is in use; stop the other program, or "
        "choose another with --mqtt-port or HECATE_GATEWAY_BROKER_PORT"
    )


def test_all_taken_ports_are_named_at_once() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        uses = [PortUse(port, "one", "--one", "ONE"), PortUse(port, "two", "--two", "TWO")]
        with pytest.raises(CliError) as caught:
            check_ports(uses)
    assert "(one) is in use" in str(caught.value)
    assert "(two) is also that of the one" in str(caught.value)


def test_any_free_port_is_never_taken() -> None:
    check_ports(Plan(Path("/tmp/x"), PortNumbers(0, 0, 0, 0, 0)).port_uses())


def test_the_settings_of_one_part_do_not_reach_the_other() -> None:
    plan = Plan(Path("/tmp/x"), PortNumbers(1, 2, 3, 4, 5))
    environ = {
        "PATH": "/bin",
        "HECATE_CLOUD_MQTT_PORT": "9",
        "HECATE_API_KEY": "k",
        "HECATE_LOG_LEVEL": "DEBUG",
    }
    cloud = plan.cloud_environment(environ)
    assert cloud == {
        "PATH": "/bin",
        "HECATE_LOG_LEVEL": "DEBUG",
        "HECATE_CLOUD_MID_DEVELOPMENT": "true",
    }
    gateway = plan.gateway_environment(environ, "http://127.0.0.1:3", 4)
    assert "HECATE_API_KEY" not in gateway
    assert gateway["HECATE_GATEWAY_BROKER_PORT"] == "1"
    assert gateway["HECATE_GATEWAY_BROKER_HOST"] == "127.0.0.1"
    assert gateway["HECATE_GATEWAY_BROKER_ANONYMOUS"] == "loopback"


def test_one_run_per_state_folder(tmp_path: Path) -> None:
    lock = tmp_path / "up.lock"
    refusal = f"another hecate up .process {os.getpid()}. uses"
    with hold(lock), pytest.raises(CliError, match=refusal), hold(lock):
        pass
    with hold(lock):
        pass


def test_a_secret_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("old")
    path.chmod(0o644)
    write_secret(path, Secret("new"))
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def all_commands(where: Endpoints = WHERE) -> list[str]:
    return [command for group in list_tries(where) for command in group.commands]


def test_each_printed_line_is_shell() -> None:
    for command in all_commands():
        done = subprocess.run(["sh", "-n", "-c", command], capture_output=True, check=False)
        assert done.returncode == 0, command
        assert "\n" not in command


def test_no_printed_curl_has_a_secret_among_its_arguments() -> None:
    assert not any("curl" in command and "$(cat" in command for command in all_commands())


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("/home/u/.local/state/hecate", "~/.local/state/hecate"),
        ("/home/u/a folder", "'/home/u/a folder'"),
        ("/home/u2/x", "/home/u2/x"),
        ("/tmp/it's", """'/tmp/it'"'"'s'"""),
    ],
)
def test_a_path_is_a_shell_word(path: str, word: str) -> None:
    assert shell_word(Path(path), Path("/home/u")) == word


def test_what_is_missing_for_a_line_is_said() -> None:
    headings = [group.heading for group in list_tries(replace(WHERE, has_mosquitto=False))]
    assert any(heading.endswith("; needs mosquitto-clients") for heading in headings)


def test_nothing_is_printed_for_what_is_not_there() -> None:
    where = replace(WHERE, service_path="", device_id="")
    text = "\n".join(all_commands(where))
    assert "bep" not in text
    assert "commands/light" not in text
