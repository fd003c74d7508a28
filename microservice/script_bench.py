"""Runs a microservice in JavaScript in a test: `async with ScriptTest("hello") as t`.

It runs index.js as a container does: the same evaluator, a process for each request, the same
limits. Only the broker and the network are the test's own.
"""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from microservice.control import JAVASCRIPT, Launch
from microservice.errors import ServiceError
from microservice.info import Info
from microservice.javascript.environment import TRIGGERS, read_publish, read_triggers
from microservice.javascript.host import load_javascript
from microservice.mqtt.requests import RESPONSES
from microservice.testing.harness import STORE_MIB, TestBench
from microservice.testing.manifest import MANIFEST, TestedManifest, read_manifest


class ScriptTest:
    """The folder of a microservice, without a gateway.

    Args:
        folder: with index.js; its microservice.toml names topics and settings.
        settings: those that are not given have their defaults.
        secrets: of the container.
        env: of the container: MCM.WEBSOCKET_SUPPORT and others.
        now: the unix time of the test.

    Raises:
        ServiceError: index.js cannot be loaded; tells the line.
    """

    __test__ = False  # it is no test of pytest

    def __init__(
        self,
        folder: str | Path,
        *,
        settings: Mapping[str, Any] | None = None,
        secrets: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        now: float | None = None,
    ) -> None:
        self._folder = Path(folder).resolve()
        self._settings, self._secrets = dict(settings or {}), dict(secrets or {})
        self._env, self._now = dict(env or {}), now
        self._data = tempfile.TemporaryDirectory(prefix="script-test-")
        self._bench: TestBench | None = None

    async def __aenter__(self) -> TestBench:
        path = self._folder / MANIFEST
        manifest = read_manifest(path) if path.is_file() else TestedManifest()
        if manifest.subscribe:
            self._env.setdefault(TRIGGERS, json.dumps(list(manifest.subscribe)))
        elif manifest.publish == (RESPONSES,):  # its deployer gives the rights
            manifest = replace(
                manifest,
                subscribe=tuple(one.topic_filter for one in read_triggers(self._env)),
                publish=(*read_publish(self._env), *manifest.publish),
            )
        name = manifest.name or self._folder.name
        launch = Launch(
            code=str(self._folder),
            http_fd=-1,  # the bench calls it within the process
            info=Info(f"api-{name}", f"api-{name}", f"/api/{name}/v1"),
            runtime=JAVASCRIPT,
            env=self._env,
            store_mib=STORE_MIB,
        )
        try:
            service = await load_javascript(launch, Path(self._data.name))
        except ServiceError:
            self._data.cleanup()
            raise
        try:
            self._bench = service.test_with(
                manifest,
                settings=self._settings,
                secrets=self._secrets,
                env=self._env,
                now=self._now,
            )
        except ServiceError:
            for close in service.triggers.closed:
                await close()
            self._data.cleanup()
            raise
        return await self._bench.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self._bench is not None:
                await self._bench.__aexit__(kind, error, trace)
        finally:
            self._data.cleanup()
