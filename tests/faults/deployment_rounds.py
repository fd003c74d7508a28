"""Kills a gateway at random moments of deployments, and looks at what it runs afterwards.

Rule: the container answers again, with the version of the last deployment that was acknowledged,
or with one of a deployment that the kill cut off. A version that cannot start or that crashes is
never left running. The catalogue is not damaged, and every content that it names is whole.
"""

import contextlib
import random
import sqlite3
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from gateway.services.images.pack import pack_image
from tests.programs import until
from tests.system import Gateway

LIVES_S = (0.06, 0.2, 1.0)  # at most, from the begin of a deployment to the kill
ANSWER_S = 30.0  # only a hang reaches it
CODE = """
import asyncio, os, sys
from microservice import *
service = Service()
{extra}
@service.get("/")
async def root(_): return {{"label": "{code}-" + service.env.get("V", "")}}
"""
EXITS = 'sys.exit("no sensor")'
CRASHES = """
@service.on_start
async def crash(): asyncio.get_running_loop().call_later(0.25, os._exit, 3)
"""
KINDS = {"env": "", "code": "", "rollback": "", "exits": EXITS, "crashes": CRASHES}


@dataclass(slots=True)
class DeploymentOutcome:
    """The numbers of a run."""

    kills: int = 0
    acknowledged: int = 0
    cut: int = 0
    longest_s: float = 0.0  # from the start of a gateway to the first answer of the container
    findings: list[str] = field(default_factory=list)


class DeploymentRounds:
    """One run on one state folder. A label is the code that runs, and its environment."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder, self._chance = folder, random.Random(seed)
        self._number = 0
        self._label = "0-0"  # the version that runs now
        self._ran = {"0-0"}  # versions to which a rollback may go
        self._codes, self._envs = {"0"}, {"0"}  # codes and environments that can run
        self.outcome = DeploymentOutcome()

    def go(self, rounds: int) -> DeploymentOutcome:
        """Run the rounds, and stop the gateway."""
        gateway = Gateway(self._folder / "state")
        assert self._upload(gateway, "0") == 201
        assert self._put(gateway, "0") == 201
        for _ in range(rounds):
            self._number += 1
            allowed = self._cut(gateway)
            began = time.monotonic()
            gateway.start()
            self._check(gateway, allowed, began)
        assert gateway.stop() == 0
        self._check_files()
        return self.outcome

    def _cut(self, gateway: Gateway) -> set[str]:
        """Deploy something, and kill the gateway meanwhile; return what may run afterwards."""
        number, kind = str(self._number), self._chance.choice(sorted(KINDS))
        if kind == "code":
            self._codes.add(number)
        elif kind == "env":
            self._envs.add(number)
        seen: list[str] = []

        def deploy() -> None:
            with contextlib.suppress(httpx.HTTPError, OSError):
                seen.append(str(self._deploy(gateway, kind, number)))
                seen.append(self._read(gateway))

        thread = threading.Thread(target=deploy)
        thread.start()
        thread.join(self._chance.uniform(0, self._chance.choice(LIVES_S)))
        gateway.program.kill()
        thread.join()
        self.outcome.kills += 1
        self.outcome.acknowledged += bool(seen)
        self.outcome.cut += not seen
        self.last = f"{kind} {number}: {seen or 'cut off'}"
        if len(seen) == 2 and seen[1].partition("-")[0] in self._codes:
            return {seen[1]}  # it was acknowledged and ran: nothing before it may come back
        new = {f"{code}-{env}" for code in self._codes for env in self._envs}
        wanted = {label for label in new if number in label.split("-")}
        return wanted | self._ran | {self._label}

    def _deploy(self, gateway: Gateway, kind: str, number: str) -> int:
        if kind == "env":
            return self._put(gateway, number)
        if kind == "rollback":
            path = "/mcm/v1/containers/api-probe/rollback"
            return gateway.ask("POST", path).status_code
        return self._upload(gateway, number, KINDS[kind])

    def _put(self, gateway: Gateway, env: str) -> int:
        body = {"name": "probe", "image": "probe-v1", "env": {"V": env}}
        return gateway.ask("POST", "/mcm/v1/containers", json=body).status_code

    def _upload(self, gateway: Gateway, code: str, extra: str = "") -> int:
        source = self._folder / "source"
        source.mkdir(exist_ok=True)
        (source / "service.py").write_text(CODE.format(code=code, extra=extra))
        (source / "microservice.toml").write_text('name = "probe"\n[http]\nbase = "/probe/v1"\n')
        files = {"image": ("image.tar", pack_image(source))}
        return gateway.ask("POST", "/mcm/v1/images", files=files).status_code

    def _read(self, gateway: Gateway) -> str:
        """Return the label of what answers; "" when nothing does."""
        answer = gateway.ask("GET", "/api/probe/v1/")
        return str(answer.json()["label"]) if answer.status_code == 200 else ""

    def _check(self, gateway: Gateway, allowed: set[str], began: float) -> None:
        until(lambda: self._read(gateway), f"it answers after {self.last}", ANSWER_S)
        self.outcome.longest_s = max(self.outcome.longest_s, time.monotonic() - began)

        def settled() -> bool:
            row = gateway.call("GET", "/mcm/v1/containers/api-probe")
            known = self._read(gateway)
            return bool(known in allowed and row["waiting"] == 0 and row["state"] == "started")

        try:
            until(settled, self.last, ANSWER_S)
        except AssertionError:
            row = gateway.call("GET", "/mcm/v1/containers/api-probe")
            versions = gateway.call("GET", "/mcm/v1/containers/api-probe/versions")["data"]
            found = f"{self._read(gateway)!r} runs after {self.last}, of {sorted(allowed)}"
            self.outcome.findings.append(f"{found}: {row} {versions}")
        self._label = self._read(gateway)
        self._ran.add(self._label)

    def _check_files(self) -> None:
        services = self._folder / "state/services"
        with contextlib.closing(sqlite3.connect(services / "catalogue.db")) as database:
            (verdict,) = database.execute("PRAGMA integrity_check").fetchone()
            digests = {row[0] for row in database.execute("SELECT digest FROM version")}
            digests |= {row[0] for row in database.execute("SELECT digest FROM image")}
        if verdict != "ok":
            self.outcome.findings.append(f"the catalogue is damaged: {verdict}")
        for digest in digests:
            folder = services / "contents" / digest.removeprefix("sha256:")
            if {path.name for path in folder.glob("*")} != {"service.py", "microservice.toml"}:
                self.outcome.findings.append(f"the content {digest} is not whole")
