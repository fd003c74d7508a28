"""Imports a package without a submodule that only some of its names need.

A package whose __init__ takes names from all its submodules brings the memory of all of them:
uvicorn's command line, which no server of ours uses, takes 2 MiB and 40 ms.
"""

import importlib
import sys
from types import ModuleType
from typing import Any


class _Placeholder(ModuleType):
    """Stands for a submodule while its package is imported; notes the names taken from it."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.taken: set[str] = set()

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        self.taken.add(name)
        return None


def import_without(package: str, submodule: str) -> None:
    """Import a package; its names from the submodule, and that, come with their first use.

    It does nothing when the package has been imported.
    """
    if package in sys.modules:
        return
    full_name = f"{package}.{submodule}"
    placeholder = sys.modules[full_name] = _Placeholder(full_name)
    try:
        module = importlib.import_module(package)
    finally:
        del sys.modules[full_name]
    for name in {*placeholder.taken, submodule}:
        vars(module).pop(name, None)

    def find(name: str) -> Any:
        if name not in placeholder.taken:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        real = importlib.import_module(full_name)
        vars(module).update({each: getattr(real, each) for each in placeholder.taken})
        return getattr(module, name)

    vars(module)["__getattr__"] = find  # PEP 562
