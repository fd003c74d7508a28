"""Writes MicroPython to a board."""

from collections.abc import Callable
from pathlib import Path

from gateway.cli.errors import CliError
from gateway.cli.output import console, notes
from hardware.boards.errors import BoardError
from hardware.boards.esptool import ChipIdentity, Flasher
from hardware.boards.ports import choose_port, open_port

Confirm = Callable[[str], bool]


async def flash_board(
    image: Path, given_port: str, baud: int, confirm: Confirm, *, erase: bool
) -> None:
    """Write an image to the board at a port, once the person has confirmed which one it is."""
    try:
        port = open_port(choose_port(given_port))
        flasher = Flasher(image, port, baud)
        identity = await flasher.identify()
        what = f"{image.name} to {identity} at {port.path}"
        erased = ", after erasing all that is on it" if erase else ""
        if not confirm(f"write {what}{erased}?"):
            raise CliError(f"cannot flash {image.name}: not confirmed; nothing was written")
        await _write(flasher, identity, erase=erase)
    except BoardError as exc:
        raise CliError(str(exc)) from exc
    console().print(f"wrote and verified {what}", soft_wrap=True)
    notes().print(
        f"`hecate devices provision --port {port.path}` puts the device package on it next",
        style="dim", soft_wrap=True,
    )  # fmt: skip


async def _write(flasher: Flasher, identity: ChipIdentity, *, erase: bool) -> None:
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    out = notes()
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TaskProgressColumn())
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as progress:
        task = progress.add_task("writing", total=1.0)

        def show(share: float) -> None:
            progress.update(task, completed=share)

        await flasher.flash(identity, show, erase=erase)
