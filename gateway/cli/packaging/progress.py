"""Builds a folder and shows in a terminal which package pip looks at."""

from dataclasses import replace
from pathlib import Path

from gateway.cli.output import notes
from gateway.cli.packaging.builder import BuildOptions, Package, build_folder
from gateway.cli.packaging.requirements import LOCK

SHOWN = ("Collecting", "Downloading")  # lines of pip


def build_with_progress(folder: Path, options: BuildOptions) -> Package:
    """Return the package of a folder; say when requirements.lock is new."""
    out = notes()
    with out.status(f"building {folder}") as status:

        def show(line: str) -> None:
            if line.startswith(SHOWN):
                status.update(line[: max(20, out.width - 4)])

        package = build_folder(folder, replace(options, on_line=show))
    if package.is_locked_anew:
        where = f"{folder / LOCK} has {len(package.packages)} packages for {options.platform.name}"
        out.print(f"{where}; commit it", style="dim", soft_wrap=True)
    return package
