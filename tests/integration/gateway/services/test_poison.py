"""Messages whose handlers end the process."""

import asyncio
from pathlib import Path

import pytest

from tests.aio import until
from tests.integration.gateway.services.world import Person, world, write_service

TOML = """
[mqtt]
subscribe = ["in/#"]
publish = ["out"]
[retry]
tries = 1
"""
CODE = """
@service.on("in/{what}")
async def handle(message):
    value = message.json()
    if value["seq"] == 0:
        HOW
    await service.publish("out", value)
"""


# case S9
@pytest.mark.parametrize("how", ["os._exit(3)", "os.kill(os.getpid(), 11)"])
def test_a_message_that_ends_the_process_becomes_a_dead_letter(how: str, tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path, probation_s=0.0) as here:
            code = CODE.replace("HOW", how)
            await here.deploy(write_service(tmp_path / "src", code, toml=TOML), "probe")
            with Person(here.mqtt_port) as person:
                await person.subscribe("out")
                person.publish("in/poison", {"seq": 0})
                for seq in range(1, 6):
                    person.publish("in/good", {"seq": seq})
                await until(lambda: set(person.seqs("out")) == {1, 2, 3, 4, 5})
                path = "/mcm/v1/containers/api-probe/deadletters"
                await until(lambda: here.is_running("api-probe"))
                (letter,) = (await here.http.get(path)).json()["data"]
                assert (letter["topic"], letter["tries"]) == ("in/poison", 1)
                assert "the process ended once while it handled this" in letter["error"]
                person.publish("in/good", {"seq": 6})
                await until(lambda: 6 in person.seqs("out"))
            assert not (tmp_path / "state/containers/api-probe/data/.unfinished").exists()

    asyncio.run(run())
