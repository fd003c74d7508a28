"""Runs Mosquitto as the broker of a test, and restarts it at the same port."""

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.programs import until


class Mosquitto:
    """A mosquitto on loopback; a context that ends it."""

    def __init__(self, directory: Path) -> None:
        program = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
        if program is None:
            if os.environ.get("CI"):
                pytest.fail("mosquitto is not installed")
            pytest.skip("mosquitto is not installed")
        with socket.socket() as probe:  # mosquitto cannot choose its port itself
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        config = directory / "mosquitto.conf"
        config.write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\n")
        self._command = [program, "-c", str(config)]
        self._log = (directory / "mosquitto.log").open("ab")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start; returns when it accepts connections."""
        self._process = subprocess.Popen(self._command, stdout=self._log, stderr=self._log)
        until(self._accepts, "mosquitto accepts connections")

    def kill(self) -> None:
        """End it as a power cut would: it forgets sessions and retained messages."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def pause(self) -> None:
        """Let it answer nobody until resume()."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        self._log.close()

    def _accepts(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True


class Application:
    """An independent MQTT client (paho) that keeps what it receives; a context."""

    def __init__(self, port: int, *filters: str) -> None:
        self.messages: list[tuple[str, bytes]] = []
        self.subscribed = False
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.on_message = self.take
        self._client.on_subscribe = self._note_subscribed
        self._client.connect("127.0.0.1", port)
        self._client.subscribe([(topic_filter, 1) for topic_filter in filters])
        self._client.loop_start()
        until(lambda: self.subscribed, "paho has subscribed")

    def publish(self, topic: str, payload: str) -> None:
        """Publish at QoS 1; returns when the broker has it."""
        self._client.publish(topic, payload, qos=1).wait_for_publish(10)

    def payloads(self, topic_end: str) -> list[bytes]:
        """Return what came on topics that end so."""
        return [payload for topic, payload in list(self.messages) if topic.endswith(topic_end)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def take(self, client: paho.Client, _: object, message: paho.MQTTMessage) -> None:  # noqa: ARG002
        """Keep a message."""
        self.messages.append((message.topic, bytes(message.payload)))

    def _note_subscribed(self, *_: object) -> None:
        self.subscribed = True
