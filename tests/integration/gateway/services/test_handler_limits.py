"""A handler that hangs is ended at its limit, with everything that it has started."""

import asyncio
import contextlib
from pathlib import Path

import psutil

from tests.aio import until
from tests.integration.gateway.services.world import Person, world, write_service

MQTT = '[mqtt]\nsubscribe = ["#"]\npublish = ["#"]\n'
ONE_TRY = "[retry]\ntries = 1\n"
LETTERS = "/mcm/v1/containers/api-probe/deadletters"
SPAWN = """
@service.on("hang")
async def hang(message):
    inner = await asyncio.create_subprocess_exec(
        "sh", "-c", "sleep 300 & echo 2; sleep 300; true", stdout=asyncio.subprocess.PIPE
    )
    line = await inner.stdout.readline()
    await service.publish("spawned", {"seq": int(line)})
    await inner.wait()
@service.on("in")
async def echo(message):
    await service.publish("out", {"seq": message.json()["seq"]})
"""


def processes_of(folder: Path) -> set[psutil.Process]:
    """Return the processes that run in the folder of a container."""
    found = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if Path(process.cwd()).is_relative_to(folder):
                found.add(process)
    return found


def zombies_below(processes: set[psutil.Process]) -> list[psutil.Process]:
    children = [child for each in processes for child in each.children(recursive=True)]
    return [each for each in children if each.status() == psutil.STATUS_ZOMBIE]


# case S21
def test_what_a_hanging_handler_has_started_ends_with_it(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            toml = MQTT + ONE_TRY + "[limits]\nhandler_s = 1\n"
            await here.deploy(write_service(tmp_path / "v1", SPAWN, toml=toml), "probe")
            before = processes_of(tmp_path)
            with Person(here.mqtt_port) as person:
                await person.subscribe("spawned")
                await person.subscribe("out")
                person.publish("hang", None)
                await until(lambda: person.seqs("spawned") == [2])
                person.publish("in", {"seq": 1})  # others go on
                await until(lambda: person.seqs("out") == [1])
                await until(lambda: here.host.containers()[0].overdue == 1)
                await until(lambda: not processes_of(tmp_path) - before)
                await until(lambda: not zombies_below(before), "no zombie")
                person.publish("in", {"seq": 2})
                await until(lambda: person.seqs("out") == [1, 2])
            assert before <= processes_of(tmp_path), "the container went on"
            (letter,) = (await here.http.get(LETTERS)).json()["data"]
            assert letter["error"] == (
                "TimeoutError: it was ended at its limit of 1 s (service.py, line 12)"
            )

    asyncio.run(run())


def test_a_handler_that_does_not_let_itself_be_ended_takes_its_process_with_it(
    tmp_path: Path,
) -> None:
    code = """
@service.on("hang", limit_s=0.3, tries=1)
async def hang(message):
    if os.path.exists("once"):
        return await service.publish("out", {"seq": 1})
    open("once", "w").close()
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass
"""

    async def run() -> None:
        async with world(tmp_path) as here:
            await here.deploy(write_service(tmp_path / "v1", code, toml=MQTT), "probe")
            with Person(here.mqtt_port) as person:
                await person.subscribe("out")
                person.publish("hang", None)
                await until(lambda: here.host.containers()[0].restarts == 1)
                await until(lambda: person.seqs("out") == [1])  # the message was not lost
            why = here.host.containers()[0].last_end
            assert "the handler of hang does not end" in why
            assert "(service.py, line 12)" in why

    asyncio.run(run())
