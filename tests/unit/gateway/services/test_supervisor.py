"""One container through a fake runtime: the order of steps, and states after failures."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from gateway.services.containers import ContainerState
from gateway.services.errors import DeployError, StorageError
from gateway.services.runtimes.port import Version
from gateway.services.supervisor import Supervisor, VersionCallbacks
from gateway.services.switching.retiring import RETIRING_LIMIT
from microservice.control import Counts
from microservice.info import Info
from tests.aio import until
from tests.programs import PATIENCE
from tests.unit.gateway.services.fake_runtime import FakeRuntime, make_context, make_version

ONE, TWO = make_version("one"), make_version("two")


class Bench:
    """A supervisor, its runtime, and the versions that it recorded."""

    def __init__(self, folder: Path) -> None:
        self.runtime = FakeRuntime()
        self.recorded: list[str] = []
        self.disk_is_full = False
        info = Info(container_id="api-probe", service_type="", node_id="", account_id="")
        context = make_context(self.runtime, folder)
        self.former: Version | None = None  # to go back to
        self.crashed: list[tuple[str, str]] = []
        self.proven: list[str] = []
        callbacks = VersionCallbacks(self._record, self._note_crash, self._note_proven)
        self.supervisor = Supervisor(info, folder, context, ONE, callbacks)

    async def _note_crash(self, version: Version, why: str) -> Version | None:
        self.crashed.append((version.digest, why))
        return self.former

    async def _note_proven(self, version: Version) -> None:
        self.proven.append(version.digest)

    async def _record(self, version: Version, _filters: tuple[str, ...]) -> None:
        if self.disk_is_full:
            raise StorageError("cannot write: disk full")
        self.recorded.append(version.digest)


def run(folder: Path, scenario: Callable[[Bench], Awaitable[None]]) -> None:
    async def whole() -> None:
        bench = Bench(folder)
        await scenario(bench)
        await bench.supervisor.close()
        assert bench.supervisor.process is None

    asyncio.run(asyncio.wait_for(whole(), 10 * PATIENCE))


def test_a_new_version_takes_over_step_by_step(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.supervisor.deploy(ONE)
        assert bench.runtime.take_events() == ["prepared 0", "go 0"]
        await bench.supervisor.deploy(TWO)
        await until(lambda: "stop 0" in bench.runtime.events)
        # the session is handed over: the old process leaves before the new one joins
        assert bench.runtime.take_events() == [
            "prepared 1",
            "pause 0",
            "go 1",
            "retire 0",
            "stop 0",
        ]
        assert bench.supervisor.state is ContainerState.STARTED
        assert bench.supervisor.version is TWO
        assert bench.recorded == ["one", "two"]

    run(tmp_path, scenario)


def test_a_version_that_cannot_be_prepared_leaves_the_old_one_alone(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.supervisor.deploy(ONE)
        bench.runtime.take_events()
        bench.runtime.failures["prepared 1"] = "SyntaxError"
        with pytest.raises(DeployError, match="cannot start api-probe: SyntaxError"):
            await bench.supervisor.deploy(TWO)
        assert bench.runtime.take_events() == ["prepared 1", "stop 1"]
        assert bench.supervisor.process is bench.runtime.processes[0]
        assert bench.supervisor.version is ONE
        assert bench.recorded == ["one"]

    run(tmp_path, scenario)


def test_the_old_version_goes_on_when_the_new_one_cannot_join(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.supervisor.deploy(ONE)
        bench.runtime.take_events()
        bench.runtime.failures["go 1"] = "refused by the broker"
        with pytest.raises(DeployError, match="refused by the broker"):
            await bench.supervisor.deploy(TWO)
        assert bench.runtime.take_events() == ["prepared 1", "pause 0", "go 1", "stop 1", "go 0"]
        assert bench.supervisor.state is ContainerState.STARTED

    run(tmp_path, scenario)


def test_a_process_that_answers_nothing_is_not_asked_to_pause(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.supervisor.deploy(ONE)
        bench.runtime.take_events()
        bench.runtime.processes[0].answers = False
        await bench.supervisor.deploy(TWO)
        await until(lambda: "stop 0" in bench.runtime.events)
        assert bench.runtime.take_events() == ["prepared 1", "go 1", "retire 0", "stop 0"]

    run(tmp_path, scenario)


def test_a_version_that_is_not_ready_in_time_fails_with_its_last_step(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        bench.runtime.hangs.add("prepared 0")
        with pytest.raises(DeployError, match=r"not ready within 0\.5 s .*it was loading code"):
            await bench.supervisor.deploy(ONE)
        assert bench.runtime.take_events() == ["prepared 0", "stop 0"]
        assert bench.supervisor.state is ContainerState.FAILED

    run(tmp_path, scenario)


def test_a_process_may_subscribe_only_to_what_its_manifest_names(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        narrow = make_version("narrow", '[mqtt]\nsubscribe = ["a/+"]')

        bench.runtime.subscribe = ("a/b", "c/#")
        with pytest.raises(DeployError, match=r"c/# is not in \[mqtt\] subscribe"):
            await bench.supervisor.deploy(narrow)

    run(tmp_path, scenario)


def test_a_runtime_that_is_not_there_is_named(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        other = Version("api-js-v1", "js", "javascript", Path("code"), ONE.manifest)
        with pytest.raises(DeployError, match="this gateway has no runtime for javascript"):
            await bench.supervisor.deploy(other)

    run(tmp_path, scenario)


def test_a_process_that_ends_is_started_again(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        supervisor, runtime = bench.supervisor, bench.runtime
        await supervisor.deploy(ONE)
        runtime.processes[0].counts = Counts(3, 2, 1)
        runtime.processes[0].end("it exited with status 1")
        await until(lambda: supervisor.process is None)
        assert supervisor.state is ContainerState.RESTARTING
        assert (supervisor.restarts, supervisor.last_end.reason) == (1, "it exited with status 1")
        assert supervisor.last_end.at == 1_000.0
        await until(lambda: supervisor.state is ContainerState.STARTED)
        runtime.processes[1].counts = Counts(4, 0, 0)
        assert supervisor.counts == Counts(7, 2, 1)  # of all its processes

    run(tmp_path, scenario)


def test_a_stopped_container_stays_so_until_it_is_deployed(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.supervisor.deploy(ONE)
        await bench.supervisor.stop()
        assert bench.supervisor.state is ContainerState.STOPPED
        assert bench.runtime.take_events()[-1] == "stop 0"
        await asyncio.sleep(0.6)  # longer than the first delay of a restart
        assert len(bench.runtime.processes) == 1
        await bench.supervisor.deploy(ONE)
        assert bench.supervisor.process is not None

    run(tmp_path, scenario)


def test_nothing_starts_after_the_close(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.supervisor.close()
        with pytest.raises(DeployError, match="it was deleted"):
            await bench.supervisor.deploy(ONE)

    run(tmp_path, scenario)


def test_a_version_that_cannot_be_recorded_runs_all_the_same(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        bench.disk_is_full = True
        with pytest.raises(StorageError, match="disk full"):
            await bench.supervisor.deploy(ONE)
        assert bench.supervisor.state is ContainerState.STARTED

    run(tmp_path, scenario)


def test_both_passwords_are_good_while_a_version_takes_over(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        supervisor, runtime = bench.supervisor, bench.runtime
        await supervisor.deploy(ONE)
        runtime.hangs.add("go 1")
        deploying = asyncio.ensure_future(supervisor.deploy(TWO))
        await until(lambda: "go 1" in runtime.events)
        first, second = (each.password.reveal().encode() for each in runtime.processes)
        assert supervisor.rights_version(first) is ONE
        assert supervisor.rights_version(second) is TWO
        assert supervisor.rights_version(b"guess") is None
        with pytest.raises(DeployError):
            await deploying
        assert supervisor.rights_version(second) is None

    run(tmp_path, scenario)


async def replaced(bench: Bench) -> None:
    await bench.supervisor.deploy(ONE)
    await bench.supervisor.deploy(TWO)


# case S19
def test_a_replaced_process_answers_its_requests_before_it_ends(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.supervisor.deploy(ONE)
        old = bench.supervisor.process
        assert old is not None
        with bench.supervisor.answering(old):
            await bench.supervisor.deploy(TWO)
            await asyncio.sleep(0.05)
            assert bench.runtime.events[-2:] == ["go 1", "retire 0"]
        await until(lambda: bench.runtime.events[-1] == "stop 0")

    run(tmp_path, scenario)


def test_a_replaced_process_gets_no_more_time_than_its_limit(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.supervisor.deploy(make_version("slow", "[limits]\nstop_s = 1"))
        old = bench.supervisor.process
        assert old is not None
        with bench.supervisor.answering(old):
            await bench.supervisor.deploy(TWO)
            await until(lambda: bench.runtime.events[-1] == "stop 0")

    run(tmp_path, scenario)


def test_a_burst_of_deployments_leaves_few_processes_that_end(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        with contextlib.ExitStack() as requests:
            for number in range(12):
                await bench.supervisor.deploy(make_version(str(number), "[limits]\nstop_s = 600"))
                process = bench.supervisor.process
                assert process is not None
                requests.enter_context(bench.supervisor.answering(process))
            stopped = [event for event in bench.runtime.events if event.startswith("stop")]
            await until(lambda: "stop 7" in bench.runtime.events)
            assert len(stopped) <= 11 - RETIRING_LIMIT
            assert "stop 8" not in bench.runtime.events
            await bench.supervisor.close()

    run(tmp_path, scenario)


# case S18
def test_a_version_that_ends_on_probation_is_left_for_the_one_before(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        await replaced(bench)
        bench.former = ONE
        bench.runtime.processes[1].end("it exited with status 1")
        await until(lambda: len(bench.runtime.processes) == 3)
        await until(lambda: bench.supervisor.state is ContainerState.STARTED)
        assert bench.supervisor.version is ONE
        assert bench.crashed == [("two", "it exited with status 1")]

    run(tmp_path, scenario)


def test_a_version_that_stays_up_is_proven_and_restarts_after_that(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        await replaced(bench)
        bench.former = ONE
        await until(lambda: bench.proven == ["two"])
        assert bench.supervisor.version.good
        bench.runtime.processes[1].end("it exited with status 1")
        await until(lambda: bench.supervisor.restarts == 1)
        await until(lambda: bench.supervisor.state is ContainerState.STARTED)
        assert bench.supervisor.version == TWO
        assert bench.crashed == []

    run(tmp_path, scenario)


def test_a_process_is_ended_for_a_fault_and_started_again(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.supervisor.deploy(ONE)
        await bench.supervisor.end_for("its data folder holds 70 MiB")
        assert bench.supervisor.error == "its data folder holds 70 MiB"
        assert bench.supervisor.last_end.reason == "its data folder holds 70 MiB"
        await until(lambda: bench.supervisor.state is ContainerState.STARTED)
        assert len(bench.runtime.processes) == 2

    run(tmp_path, scenario)


# case S20
def test_a_crash_loop_goes_on_and_a_fix_ends_it_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(bench: Bench) -> None:
        supervisor, runtime = bench.supervisor, bench.runtime
        pauses: list[int] = []

        def pause(failures: int) -> float:
            pauses.append(failures)
            return 0.0 if failures < 25 else 300.0

        monkeypatch.setattr("gateway.services.containers.delay_s", pause)
        await supervisor.deploy(ONE)
        for number in range(25):
            await until(lambda number=number: len(runtime.processes) == number + 1)  # type: ignore[misc]
            await until(lambda: supervisor.process is runtime.processes[-1])
            assert supervisor.next_try == 0
            runtime.processes[-1].end("it exited with status 1")
        await until(lambda: supervisor.process is None)
        assert pauses == list(range(1, 26))
        assert supervisor.state is ContainerState.FAILED
        assert 1_299 < supervisor.next_try <= 1_300  # the clock stands at 1,000
        await supervisor.deploy(TWO)
        assert (supervisor.state, supervisor.next_try) == (ContainerState.STARTED, 0)
        runtime.processes[-1].end("it exited with status 1")
        await until(lambda: len(runtime.processes) == 27)
        assert pauses[-1] == 1

    run(tmp_path, scenario)


# case S20
def test_a_deployment_between_two_crashes_ends_the_row_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(bench: Bench) -> None:
        supervisor, runtime = bench.supervisor, bench.runtime
        pauses: list[int] = []

        def pause(failures: int) -> float:
            pauses.append(failures)
            return 0.0

        monkeypatch.setattr("gateway.services.containers.delay_s", pause)
        await supervisor.deploy(ONE)
        for number in range(3):
            runtime.processes[-1].end("it exited with status 1")
            await until(lambda number=number: len(runtime.processes) == number + 2)  # type: ignore[misc]
            await until(lambda: supervisor.process is runtime.processes[-1])
        await supervisor.deploy(TWO)
        runtime.processes[-1].end("it exited with status 1")
        await until(lambda: len(pauses) == 4)
        assert pauses == [1, 2, 3, 1]

    run(tmp_path, scenario)
