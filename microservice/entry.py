"""Runs a service in a process that the warm parent has forked and isolated.

Everything about the service, including the broker's password, comes over the control socket.
"""

import asyncio
import contextlib
import faulthandler
import importlib.util
import logging
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from microservice.control import (
    JAVASCRIPT,
    LINE_LIMIT_BYTES,
    Alive,
    Command,
    Doing,
    Failed,
    Launch,
    Report,
    SettingsChange,
    decode_command,
    decode_launch,
    encode_report,
)
from microservice.errors import ControlError, MicroserviceError, ServiceError
from microservice.isolation.findings import Isolation
from microservice.lifecycle import ServiceLifecycle
from microservice.memory import explain_memory, is_out_of_memory
from microservice.outbound import ContainerNetwork
from microservice.service import Service

logger = logging.getLogger(__name__)

ENTRY_FILE = "service.py"
PACKAGES = "packages"  # beside it: what `hecate build` has put there for requirements.txt
COMMANDS_LIMIT = 8  # the gateway waits for the answer to each


# the control socket, and what a signal sets
Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter, asyncio.Event]


def prepare_service(control_fd: int) -> Callable[[Isolation, tuple[str, ...]], int]:
    """Make the event loop, with the socket to the gateway; return what runs a service on it.

    That takes the findings of the probe, and those without which no code of the developer may run.
    It runs until a stop command or signal, and returns the exit status.
    """
    faulthandler.enable()  # SIGABRT, sent to a blocked process, writes where it is blocked
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    runner, control = asyncio.Runner(), socket.socket(fileno=control_fd)

    async def open_control() -> Ends:
        stop_now = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop_now.set)
        reader, writer = await asyncio.open_unix_connection(sock=control, limit=LINE_LIMIT_BYTES)
        return reader, writer, stop_now

    ends = runner.run(open_control())

    def serve(isolation: Isolation, required: tuple[str, ...]) -> int:
        with runner:
            return runner.run(_run(ends, isolation, required))

    return serve


async def _run(ends: Ends, isolation: Isolation, required: tuple[str, ...]) -> int:
    reader, writer, stop_now = ends

    def report(each: Report) -> None:
        writer.write(encode_report(each))

    launch: Launch | None = None
    try:
        report(isolation)
        _refuse_without(isolation, required)
        launch = decode_launch(await reader.readline())
        network = ContainerNetwork(launch.gateway_socket)
        await network.open(launch.forward, has_proxy=launch.has_proxy)
        service = await _load(launch, report)
        service.attach_network(network)
        lifecycle = ServiceLifecycle(service, launch, report)
        await lifecycle.prepare()
        commands = asyncio.create_task(_execute(lifecycle, reader, report), name="commands")
        signals = asyncio.create_task(stop_now.wait(), name="signals")
        awaited: set[asyncio.Future[Any]] = {commands, signals, lifecycle.fault}
        await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
        if lifecycle.fault.done():
            lifecycle.fault.result()
        if not commands.done():
            commands.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await commands
            await lifecycle.execute(Command.STOP)
        else:
            signals.cancel()
            await commands
    except Exception as exc:
        # of an error of our own, the developer needs the cause, not the frames of the kit
        cause = exc.__cause__ if isinstance(exc, MicroserviceError) else exc
        logger.error("the service cannot run: %s", exc, exc_info=cause)  # noqa: TRY400
        report(Failed(_reason(exc, launch.memory_mib if launch else 0)))
        return 1
    else:
        return 0
    finally:
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        writer.close()


def _refuse_without(isolation: Isolation, required: tuple[str, ...]) -> None:
    missing = isolation.missing(required)
    if missing:
        raise ServiceError(f"cannot start: isolation lacks {', '.join(missing)}")


async def _execute(
    lifecycle: ServiceLifecycle, reader: asyncio.StreamReader, report: Callable[[Report], None]
) -> None:
    commands: asyncio.Queue[Command | SettingsChange] = asyncio.Queue(COMMANDS_LIMIT)
    reading = asyncio.create_task(_read(reader, commands, report), name="read")
    try:
        command: Command | SettingsChange = Command.GO
        while command is not Command.STOP:
            command = await commands.get()
            await lifecycle.execute(command)
    finally:
        reading.cancel()


async def _read(
    reader: asyncio.StreamReader,
    commands: asyncio.Queue[Command | SettingsChange],
    report: Callable[[Report], None],
) -> None:
    """Queue commands, whose execution may take long; answer a ping at once."""
    command: Command | SettingsChange = Command.GO
    while command is not Command.STOP:
        line = await reader.readline()
        try:
            command = decode_command(line) if line else Command.STOP  # the gateway has gone: stop
        except ControlError:
            logger.exception("cannot read a command of the gateway")
            command = Command.STOP
        if command is Command.PING:
            report(Alive())
        else:
            await commands.put(command)


async def _load(launch: Launch, report: Callable[[Report], None]) -> Service:
    if launch.runtime == JAVASCRIPT:
        from microservice.javascript.host import load_javascript

        report(Doing("loading index.js"))
        return await load_javascript(launch)
    report(Doing(f"loading {ENTRY_FILE}"))
    return load_service(Path(launch.code), launch.memory_mib)


def load_service(code: Path, memory_mib: int) -> Service:
    """Run service.py and return its Service.

    Raises:
        ServiceError: there is none, or more than one; or the file itself raises.
    """
    sys.dont_write_bytecode = True  # the code is the image's, and read-only
    sys.path[:0] = [str(code), str(code / PACKAGES)]
    spec = importlib.util.spec_from_file_location("service", code / ENTRY_FILE)
    if spec is None or spec.loader is None:
        raise ServiceError(f"cannot load {ENTRY_FILE}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules["service"] = module
    try:
        spec.loader.exec_module(module)
    except Exception as exc:
        from microservice.loading.advice import advise_python, own_frames

        why = f"{_where(exc, code, memory_mib)}{advise_python(exc, code)}"
        exc.__traceback__ = own_frames(exc.__traceback__, code)  # the log shows it
        raise ServiceError(f"cannot load {ENTRY_FILE}: {why}") from exc
    services = {id(value): value for value in vars(module).values() if isinstance(value, Service)}
    if len(services) != 1:
        raise ServiceError(
            f"cannot load {ENTRY_FILE}: it has {len(services)} Services, not one; write "
            "`service = Service()` once"
        )
    return services.popitem()[1]


def _where(exc: Exception, code: Path, memory_mib: int) -> str:
    why = _named(exc, memory_mib)
    for frame in reversed(traceback.extract_tb(exc.__traceback__)):
        if Path(frame.filename).is_relative_to(code):
            where = Path(frame.filename).relative_to(code)
            return f"{why} ({where}, line {frame.lineno})"
    return why


def _reason(exc: Exception, memory_mib: int) -> str:
    return str(exc) if isinstance(exc, MicroserviceError) else _named(exc, memory_mib)


def _named(exc: Exception, memory_mib: int) -> str:
    """Describe an error in one line; name the limit when memory ran out."""
    if is_out_of_memory(exc):
        return f"{type(exc).__name__}: {explain_memory(memory_mib, exc)}"
    line = next((each.strip() for each in str(exc).splitlines() if each.strip()), "")
    return f"{type(exc).__name__}: {line}"
