"""Finds programs of others that tests need; a missing one fails in CI and skips elsewhere."""

import os
import shutil

import pytest


def require(program: str) -> str:
    """Return the program's path."""
    path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if path is not None:
        return path
    why = f"{program} is not installed; `make test` as root installs it on Debian"
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)
