"""Reads all parts into one snapshot, for people, /readyz and metrics."""

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from broker import Broker
from gateway import VERSION
from gateway.cloud_api.clock import CloudClock
from gateway.cluster.cluster import Cluster
from gateway.cluster.election.heartbeat import Role
from gateway.devices.admission import DeviceAdmission
from gateway.devices.describe import describe_device
from gateway.devices.record import DeviceRecord
from gateway.node.machine import local_glibc, local_platform, local_python
from gateway.node.record import Node
from gateway.sensors.describe import describe_sensor
from gateway.sensors.hub import SensorHub
from gateway.sensors.sensor import Sensor
from gateway.services import ServiceHost
from gateway.spool.values import SpoolStatus
from gateway.tunnel import TunnelHost
from gateway.uplink.link import CloudLinkState
from hardware.boot_clock import boot_time

if TYPE_CHECKING:  # loaded only on a node with a cloud, or with a radio
    from gateway.cloud_api.ways import WayChoice
    from gateway.links.ble.bluetooth import Bluetooth
    from gateway.spool.spool import Spool
    from gateway.uplink.uplink import Uplink
    from microservice.telemetry.samples import MetricSample

WELL = ("started", "stopped")  # states of a container; a person has stopped the latter


@dataclass(frozen=True, slots=True)
class CloudSources:
    """The parts that exist only with a cloud."""

    uplink: "Uplink"
    spool: "Spool"
    clock: CloudClock
    url: str
    ways: "WayChoice"


@dataclass(frozen=True, slots=True)
class StatusSources:
    """The parts that the snapshot reads."""

    node: Node
    broker: Broker
    cluster: Cluster
    admission: DeviceAdmission
    sensors: SensorHub
    services: ServiceHost
    tunnel: TunnelHost | None
    cloud: CloudSources | None
    warnings: Callable[[], list[str]] = list
    bluetooth: "Bluetooth | None" = None


class GatewayStatus:
    """The status of all parts.

    Readiness depends on the role: a supernode needs the link to its cloud, a member does not.
    """

    def __init__(
        self,
        parts: StatusSources,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = boot_time,
    ) -> None:
        self._parts, self._clock, self._monotonic = parts, clock, monotonic
        self._started_at, self._started = clock(), monotonic()
        self._api_counts: Callable[[], dict[str, int]] = dict
        self.listeners: tuple[str, ...] = ()  # of the broker; empty until it listens

    def note_broker(self, listeners: Iterable[str]) -> None:
        """Note that the broker listens."""
        self.listeners = tuple(listeners)

    def note_api(self, counts: Callable[[], dict[str, int]]) -> None:
        """Note that the sidecar listens; counts returns its counters."""
        self._api_counts = counts

    def reasons(self) -> list[str]:
        """Return the reasons why the gateway is not ready; an empty list when it is."""
        parts, found = self._parts, []
        if not self.listeners:
            found.append("broker: not listening")
        if parts.cluster.role is Role.LISTENING:
            found.append("cluster: no supernode yet")
        state = self.sep_state()
        if parts.cloud is not None and state not in (
            CloudLinkState.ONLINE,
            CloudLinkState.DISABLED,
        ):
            error = parts.cloud.uplink.link.error
            found.append(f"SEP: {state}" + (f": {error}" if error else ""))
        if not parts.services.is_loaded:
            found.append("containers: not loaded")
        found += [
            f"container {c.id}: {c.error or c.state}"
            for c in parts.services.containers()
            if c.error or c.state not in WELL
        ]
        return found

    def warnings(self) -> list[str]:
        """Return what a person should know though the gateway is ready."""
        return self._parts.warnings()

    def sep_state(self) -> CloudLinkState:
        """Return the state of the link to the cloud."""
        parts = self._parts
        if parts.cloud is None:
            return CloudLinkState.DISABLED
        return parts.cloud.uplink.link.state

    def cloud(self) -> dict[str, str]:
        """Return the way to the cloud: "direct" or "through NODE ID"; "" without a cloud."""
        cloud = self._parts.cloud
        return {"way": str(cloud.ways) if cloud else ""}

    def role(self) -> str:
        """Return the role of this node in its cluster."""
        return str(self._parts.cluster.role)

    def snapshot(self) -> dict[str, Any]:
        """Return everything, as GET /status/v1 answers it."""
        parts, reasons = self._parts, self.reasons()
        return {
            "node": {
                "id": parts.node.node_id,
                "name": parts.node.name,
                "version": VERSION,
                "platform": local_platform(),
                "python": local_python(),
                "glibc": local_glibc(),
                "accountId": parts.node.account.account_id,
                "uptime_s": round(self._monotonic() - self._started, 1),
            },
            "ready": not reasons,
            "reasons": reasons,
            "warnings": self.warnings(),
            "cluster": {
                "role": str(parts.cluster.role),
                "supernodeId": parts.cluster.supernode_id,
                "sepHolderId": parts.cluster.sep_holder_id,
                "epoch": parts.cluster.epoch,
                "members": len(parts.cluster.known_records()),
                "sepPassed": parts.cluster.sep_passed,
            },
            "cloud": self.cloud(),
            "sep": self._sep(),
            "beps": self._beps(),
            "devices": self.devices(),
            "bluetooth": self._bluetooth(),
            "sensors": {
                "strangers": len(parts.sensors.strangers),
                "frames": dict(parts.sensors.counts),
            },
            "broker": self._broker(),
            "api": self._api_counts(),
            "containers": self._containers(),
        }

    def samples(self) -> dict[str, tuple["MetricSample", ...]]:
        """Return what the services of containers measure, by container id."""
        return self._parts.services.samples()

    def devices(self) -> list[dict[str, Any]]:
        """Return the devices with their counters."""
        online, now = self._online(), self._clock()
        sensors = self._parts.sensors.by_device()
        return [
            describe_device(device, online, now) | _sensor(sensors.get(device.device_id))
            for device in self._parts.admission.registry.all()
        ]

    def device(self, device: DeviceRecord) -> dict[str, Any]:
        """Return one device."""
        sensor = self._parts.sensors.of_device(device.device_id)
        return describe_device(device, self._online(), self._clock()) | _sensor(sensor)

    def _online(self) -> Collection[str]:
        return self._parts.broker.connected() | self._parts.sensors.online()

    def _bluetooth(self) -> dict[str, Any]:
        bluetooth = self._parts.bluetooth
        return bluetooth.describe() if bluetooth is not None else {"enabled": False}

    def _sep(self) -> dict[str, Any]:
        cloud = self._parts.cloud
        link = cloud.uplink.link if cloud else None
        return {
            "state": str(self.sep_state()),
            "since": self._wall_time(link.since) if link else self._started_at,
            "url": self._sep_url(),
            "error": link.error if link else "",
            "mqtt": cloud.uplink.mqtt if cloud else "",
            "limits": cloud.uplink.forwarder.limits.fields() if cloud else None,
            "denied": cloud.uplink.downlinks.denied if cloud else {},
            "clock": {
                "offset_s": round(cloud.clock.offset_s, 1) if cloud else 0.0,
                "note": cloud.clock.describe() if cloud else "",
            },
            "spool": asdict(cloud.spool.status() if cloud else SpoolStatus()),
        }

    def _wall_time(self, at: float) -> float:
        """Return the wall-clock time of a time of the monotonic clock, to the millisecond."""
        return round(self._clock() - (self._monotonic() - at), 3)

    def _sep_url(self) -> str:
        node, cloud = self._parts.node, self._parts.cloud
        if cloud is None:
            return ""
        return node.sep_url or f"{cloud.url.rstrip('/')}/sep/{node.node_id}"

    def _beps(self) -> list[dict[str, Any]]:
        return [
            {
                "id": b.bep_id,
                "url": b.url,
                "label": b.label,
                "expires_at": b.expires_at,
                "visitors": b.visitors,
                "visitors_total": b.visitors_total,
                "bytes_total": b.bytes_total,
                "state": str(b.state),
            }
            for b in (self._parts.tunnel.beps() if self._parts.tunnel else ())
        ]

    def _broker(self) -> dict[str, Any]:
        counters = self._parts.broker.counters
        return {
            "listeners": list(self.listeners),
            "connections": counters.connections,
            "subscriptions": counters.subscriptions,
            "retained": counters.retained,
            "messages_received": counters.messages_received,
            "messages_sent": counters.messages_sent,
            "messages_dropped": counters.messages_dropped,
            "bytes_received": counters.bytes_received,
            "bytes_sent": counters.bytes_sent,
            "store": self._store(),
        }

    def _store(self) -> dict[str, Any] | None:
        store = self._parts.broker.store
        if store is None:
            return None
        return asdict(store)

    def _containers(self) -> list[dict[str, Any]]:
        return [
            {
                "id": c.id,
                "name": c.name,
                "image": c.image,
                "state": c.state,
                "path": c.path,
                "expose": c.expose,
                "error": c.error,
                "handled": c.handled,
                "failed": c.failed,
                "dropped": c.dropped,
                "retried": c.retried,
                "overdue": c.overdue,
                "messages": asdict(c.messages),
                "started_at": c.started_at,
                "restarts": c.restarts,
                "last_end": c.last_end,
                "last_end_at": c.last_end_at,
                "network_refused": c.network_refused,
                "version": c.version,
                "note": c.note,
            }
            for c in self._parts.services.containers()
        ]


def _sensor(sensor: Sensor | None) -> dict[str, Any]:
    return {"sensor": describe_sensor(sensor) if sensor is not None else None}
