"""Plans what `hecate up` starts: processes, ports, folders. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from settings.environment import FORMER, LOG_LEVEL

HOST = "127.0.0.1"  # the quick start lets anyone in who reaches it: this machine only


@dataclass(frozen=True, slots=True)
class PortNumbers:
    """The ports of all listeners; 0 takes any free port."""

    mqtt: int = 1883
    api: int = 8083
    cloud: int = 8080
    cloud_mqtt: int = 1884
    relay: int = 8443


@dataclass(frozen=True, slots=True)
class PortUse:
    """One port, what it is for, and how to choose another."""

    port: int
    purpose: str
    option: str
    variable: str


@dataclass(frozen=True, slots=True)
class Plan:
    """One run of the whole system; its state folder is also the gateway's."""

    state: Path
    ports: PortNumbers = PortNumbers()
    devices: int = 2

    @property
    def cloud_state(self) -> Path:
        """The state folder of the cloud."""
        return self.state / "cloud"

    @property
    def logs(self) -> Path:
        """The folder of the parts' logs."""
        return self.state / "logs"

    @property
    def api_key(self) -> Path:
        """The file with the key of the sidecar API."""
        return self.state / "api-key"

    @property
    def cloud_token(self) -> Path:
        """The file with the password for the cloud's MQTT, kept fresh while `up` runs."""
        return self.state / "cloud-token"

    def free_ports(self) -> PortNumbers:
        """Return ports that the system chooses."""
        return PortNumbers(0, 0, 0, 0, 0)

    def flash(self, number: int) -> Path:
        """Return the folder that is the flash of a simulated board, counted from 1."""
        return self.state / "devices" / f"device-{number}"

    def port_uses(self) -> Iterator[PortUse]:
        """Return the ports with their uses."""
        ports = self.ports
        yield PortUse(
            ports.mqtt, "MQTT of the gateway", "--mqtt-port", "HECATE_GATEWAY_BROKER_PORT"
        )
        yield PortUse(ports.api, "API of the gateway", "--api-port", "HECATE_GATEWAY_SIDECAR_PORT")
        yield PortUse(ports.cloud, "API of the cloud", "--cloud-port", "HECATE_CLOUD_API_PORT")
        yield PortUse(
            ports.cloud_mqtt, "MQTT of the cloud", "--cloud-mqtt-port", "HECATE_CLOUD_MQTT_PORT"
        )
        yield PortUse(ports.relay, "relay of the cloud", "--relay-port", "HECATE_CLOUD_RELAY_PORT")

    def cloud_arguments(self) -> list[str]:
        """Return the arguments of `python -m cloud`."""
        ports = self.ports
        return [
            "--state", str(self.cloud_state), "--host", HOST, "--port", str(ports.cloud),
            "--mqtt-port", str(ports.cloud_mqtt), "--relay-port", str(ports.relay),
        ]  # fmt: skip

    def cloud_environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of the cloud: ours without what is meant for the gateway."""
        return {**_without_settings(environ), "HECATE_CLOUD_MID_DEVELOPMENT": "true"}

    def gateway_environment(
        self, environ: Mapping[str, str], cloud_url: str, cloud_mqtt_port: int
    ) -> dict[str, str]:
        """Return the environment of the gateway: its settings, all of them explicit."""
        return {
            **_without_settings(environ),
            "HECATE_GATEWAY_NODE_STATE": str(self.state),
            "HECATE_GATEWAY_BROKER_HOST": HOST,
            "HECATE_GATEWAY_BROKER_PORT": str(self.ports.mqtt),
            "HECATE_GATEWAY_BROKER_ANONYMOUS": "loopback",
            "HECATE_GATEWAY_SIDECAR_HOST": HOST,
            "HECATE_GATEWAY_SIDECAR_PORT": str(self.ports.api),
            "HECATE_GATEWAY_CLOUD_URL": cloud_url,
            "HECATE_GATEWAY_CLOUD_MQTT_PORT": str(cloud_mqtt_port),
            "HECATE_GATEWAY_CLUSTER_ADMIT": "none",  # nothing listens beyond this machine
        }


def find_former_variables(environ: Mapping[str, str]) -> list[str]:
    """Return a fault for each variable that chose a port under its former name."""
    variables = [use.variable for use in Plan(Path()).port_uses()]
    former = {FORMER + name.split("_", 2)[2]: name for name in variables}
    kept = set(former) - set(variables)
    return [f"{name} is now {former[name]}" for name in sorted(kept) if name in environ]


def _without_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with no setting but the log level: the quick start has its own."""
    return {k: v for k, v in environ.items() if not k.startswith(FORMER) or k == LOG_LEVEL}
