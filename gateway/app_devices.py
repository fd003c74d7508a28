"""Builds the parts of a gateway that admit devices, and sensors that advertise."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from broker import Broker
from gateway.devices.admission import AdmissionRules, DeviceAdmission
from gateway.devices.rotation import RotationRule
from gateway.devices.settings import DeviceRights, DevicesSettings
from gateway.devices.store import DeviceStore
from gateway.devices.tables import DeviceTables, load_tables
from gateway.links.ble.settings import BluetoothSettings
from gateway.mqtt.device_logins import DeviceLogins, DevicePorts, LoginRules
from gateway.sensors.decisions import SensorDecisions
from gateway.sensors.hub import SensorHub
from gateway.sensors.store import SensorStore
from gateway.storage.database import LocalDatabase

if TYPE_CHECKING:  # a gateway without [devices] certificates, or without links, does not load them
    from gateway.devices.authority import DeviceAuthority
    from gateway.links.device_links import DeviceLinks
    from gateway.links.settings import SerialSettings
    from hardware.radio.backend import RadioBackend


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """The links to devices without IP."""

    serial: "tuple[SerialSettings, ...]"
    bluetooth: BluetoothSettings
    radio: "RadioBackend | None" = None  # instead of BlueZ


@dataclass(frozen=True, slots=True)
class DeviceBase:
    """The parts about devices below the broker."""

    settings: DevicesSettings
    store: DeviceStore
    tables: DeviceTables
    authority: "DeviceAuthority | None"

    @property
    def authority_file(self) -> Path | None:
        """The certificate that listeners trust for clients."""
        return self.authority.certificate_file if self.authority is not None else None

    @property
    def rights(self) -> DeviceRights:
        """The template of the rights of devices."""
        return DeviceRights(self.settings.publish, self.settings.subscribe)


async def load_devices(
    settings: DevicesSettings, database: LocalDatabase, state: Path
) -> DeviceBase:
    """Return the parts below the broker; GatewayError when the authority cannot be opened."""
    store, authority = DeviceStore(database), None
    if settings.certificates:
        from gateway.devices.authority import open_authority

        authority = open_authority(state)
    return DeviceBase(settings, store, await load_tables(store), authority)


def build_logins(base: DeviceBase, encrypted: frozenset[str]) -> DeviceLogins:
    """Return the part that authenticates devices and joining boards."""
    rules = LoginRules(base.settings.approval, base.settings.expire_days, encrypted)
    return DeviceLogins(base.tables, rules, DevicePorts(time.time, base.store.save_device))


def build_admission(base: DeviceBase, broker: Broker) -> DeviceAdmission:
    """Return the part that answers joins and carries out the owner's decisions."""
    rules = AdmissionRules(RotationRule(base.settings.rotate_days), base.authority)
    return DeviceAdmission(base.store, base.tables, broker, rules)


def build_links(base: DeviceBase, settings: LinkSettings, broker: Broker) -> "DeviceLinks | None":
    """Return the links to devices without IP; None when the configuration has none."""
    serial, ble = settings.serial, settings.bluetooth
    if not serial and not ble.enabled:
        return None
    from gateway.links.device_links import DeviceLinks, LinkSource
    from gateway.links.links import Links

    links = Links(base.tables, base.settings.expire_days, broker)
    sources: list[LinkSource] = []
    bluetooth = None
    if serial:
        from gateway.links.serial_lines import SerialLines

        sources.append(SerialLines(links, serial))
    if ble.enabled:
        from gateway.links.ble.bluetooth import build_bluetooth

        registry = base.tables.registry
        bluetooth = build_bluetooth(ble, links, registry, broker, settings.radio)
        sources.append(bluetooth)
    return DeviceLinks(links, tuple(sources), bluetooth)


async def build_sensors(
    database: LocalDatabase, admission: DeviceAdmission, broker: Broker, *, can_hear: bool
) -> SensorDecisions:
    """Return the owner's hand on the sensors; its hub has those that the database holds."""
    store = SensorStore(database)
    local, accepted = broker.local_client("sensors"), await store.sensors()
    hub = SensorHub(store, admission, local, accepted, can_hear=can_hear)
    return SensorDecisions(hub, store, admission.registry)
