"""Installs the rivals that come from npm, into build/npm."""

import shutil
import subprocess

from benchmarks.brokers import ROOT

NPM_FOLDER = ROOT / "build" / "npm"
OPTIONS = ("--no-audit", "--no-fund", "--ignore-scripts")


def install_from_npm(packages: tuple[str, ...], timeout_s: float) -> str:
    """Install packages given as NAME@VERSION; return why not, "" when they are there."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        return "node and npm are not installed"
    NPM_FOLDER.mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run(
            [npm, "install", "--prefix", str(NPM_FOLDER), *OPTIONS, *packages],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "npm did not end in time"
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["it said nothing"]
        return f"npm failed: {said[0]}"
    return ""
