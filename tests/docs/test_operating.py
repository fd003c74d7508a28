"""Every command of docs/operating.md is run, in order, against a real gateway and its cloud."""

import re
import shlex
from pathlib import Path

import pytest

from cloud.app import SWEEP_INTERVAL_S
from cloud.config import SignallingSettings
from cloud.relay import RelayLimits
from cloud.signalling.unserved import UNSERVED_S
from cloud.tokens.device_code import LIFE_S
from cloud.tokens.device_grants import WRONG_CODES
from gateway.devices.joining.claims import CLAIM_LIMIT
from gateway.tunnel.grants import TTL_S
from tests.commands import Person
from tests.programs import ROOT, until
from tests.system import Gateway, start_cloud

PAGE = (ROOT / "docs" / "operating.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.splitlines()]


@pytest.mark.timeout(120)
def test_every_command_of_the_page_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = start_cloud(tmp_path / "cloud")
    try:
        with Gateway(tmp_path / "node", **cloud.environ()) as gateway:
            gateway.until_ready()
            monkeypatch.chdir(tmp_path)
            Path("barn.key").write_text(gateway.key)
            Path("account.token").write_text(cloud.log_in(""))
            replaced = {
                "http://127.0.0.1:8083": gateway.url,
                "~/.local/state/hecate": str(gateway.state),
            }
            person, code = Person(tmp_path), ""
            for command in COMMANDS:
                for default, actual in replaced.items():
                    command = command.replace(default, actual)
                words = shlex.split(command.replace("WDJB-MJHT", code))
                environ = dict(word.split("=") for word in words if word.startswith("HECATE_"))
                assert words[len(environ)] == "hecate"
                out = person.done(*words[len(environ) + 1 :], **environ)
                assert gateway.key not in out
                if found := re.search(r"^code (\S+),", out):
                    code = found[1]
                if "approve" in command:
                    wait_for_account(person)
            assert len(COMMANDS) > 15
    finally:
        assert cloud.program.stop() == 0


def wait_for_account(person: Person) -> None:
    until(lambda: "account acc-" in person.done("account"), "the gateway has joined")


def test_the_page_says_what_the_code_does() -> None:
    for number, value in {
        "Ten wrong codes": WRONG_CODES == 10,
        "for ten minutes": LIFE_S == 600,
        "an hour": TTL_S == 3600,
        "15 minutes after": RelayLimits().idle_s == 900,
        "30 s after": RelayLimits().grace_s == 30,
        "5 s later": SWEEP_INTERVAL_S == 5,
        "a minute after": UNSERVED_S == 60,
        "may have eight": SignallingSettings().bep_limit_node == 8,
        "1,000 may be open": CLAIM_LIMIT == 1000,
    }.items():
        assert value, number
        assert number in " ".join(PAGE.split())
