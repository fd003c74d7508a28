"""Carries out what the owner decides about sensors: accept, give a key, resume a counter."""

import asyncio
import logging
from dataclasses import replace

from gateway.devices.record import DeviceRecord
from gateway.devices.registry import DEVICE_LIMIT, DeviceRegistry
from gateway.sensors.errors import BindKeyError, SensorError, UnknownSensorError
from gateway.sensors.frames import Frame, open_frame, parse_key
from gateway.sensors.hub import SensorHub
from gateway.sensors.sensor import NO_KEY, Sensor, SensorSettings
from gateway.sensors.store import SensorStore
from gateway.sensors.strangers import Stranger
from protocol.ids import new_device_id
from settings.secret import Secret

logger = logging.getLogger(__name__)


class SensorDecisions:
    """The owner's hand on the sensors."""

    def __init__(self, hub: SensorHub, store: SensorStore, registry: DeviceRegistry) -> None:
        self.hub, self._store, self._registry = hub, store, registry
        self._lock = asyncio.Lock()

    async def approve(self, address: str, name: str, key: Secret | None) -> DeviceRecord:
        """Accept a sensor that was heard as a device.

        Raises:
            UnknownSensorError: it was not heard.
            BindKeyError: its key is missing, or does not open what it sends.
            SensorError: it cannot be a device.
        """
        async with self._lock:  # two at once would be two devices with one address
            return await self._approve(address, name, key)

    async def _approve(self, address: str, name: str, key: Secret | None) -> DeviceRecord:
        what, clocks = f"approve {address}", self.hub.clocks
        stranger = self.hub.strangers.get(address, clocks.monotonic())
        known = self.hub.find(address)
        if known is not None:
            raise SensorError(
                f"cannot {what}: it is the device {known.device_id} already; "
                "`hecate devices forget` removes that"
            )
        if stranger is None:
            raise UnknownSensorError(
                f"cannot {what}: no such sensor was heard in the last hour; see "
                "`hecate devices sensors`"
            )
        self._check(stranger, what)
        frame, secret = stranger.frame, _check_key(stranger.frame, key, what)
        packet = self.hub.decode(frame, secret, stranger.name)
        record = DeviceRecord(
            device_id=new_device_id(),
            name=name or stranger.name or packet.model,
            model=packet.model,
            token_digest="",  # nobody logs in as a sensor
            joined_at=clocks.wall(),
            client_id=address,
            confirmed=True,
        )
        settings = SensorSettings(
            record.device_id, address, secret, frame.is_trigger_based, frame.counter
        )
        await self._store.save_new(record, settings)
        # the frame that is known counts now, and never again: the store has its counter
        sensor = Sensor(replace(settings, floor=frame.counter - 1), clocks.monotonic())
        sensor.guard.note_stored(frame.counter)
        self.hub.add(sensor, record)
        self.hub.take_known(sensor, frame, stranger)
        logger.info("sensor %s (%s) accepted as %s", record.name, address, record.device_id)
        return record

    async def change_key(self, device_id: str, key: Secret) -> None:
        """Give a sensor another bind key.

        Raises:
            UnknownSensorError: the device is no sensor.
            BindKeyError: the key does not open what the sensor sends.
        """
        what = f"change key of {device_id}"
        sensor = self._find(device_id, what)
        secret = parse_key(key.reveal())
        if sensor.refused is not None and open_frame(sensor.refused, secret) is None:
            raise BindKeyError(f"cannot {what}: it does not open what the sensor sends")
        await self._store.save(sensor.settings_with(secret))
        sensor.change_key(secret)
        self.hub.note_decision(sensor)
        logger.info("bind key of sensor %s changed", device_id)

    async def resume(self, device_id: str) -> None:
        """Accept the counter of a sensor from where it went back to.

        Raises:
            UnknownSensorError: the device is no sensor.
            SensorError: its counter did not go back.
        """
        what = f"resume {device_id}"
        sensor = self._find(device_id, what)
        lower = sensor.guard.lower
        if lower is None:
            raise SensorError(f"cannot {what}: its counter did not go back")
        await self._store.save_floors({device_id: lower})
        sensor.resume()
        sensor.guard.note_stored(lower)
        self.hub.note_decision(sensor)
        logger.info("sensor %s counts on from %d", device_id, lower)

    def _find(self, device_id: str, what: str) -> Sensor:
        sensor = self.hub.of_device(device_id)
        if sensor is None:
            raise UnknownSensorError(f"cannot {what}: it is not a sensor that advertises")
        return sensor

    def _check(self, stranger: Stranger, what: str) -> None:
        if len(self._registry) >= DEVICE_LIMIT:
            raise SensorError(f"cannot {what}: {DEVICE_LIMIT} devices have joined already")
        if stranger.changes_address:
            raise SensorError(
                f"cannot {what}: it changes its address, so it could not be told from others; set "
                "it to send its address (in its frames, or a static one)"
            )


def _check_key(frame: Frame, key: Secret | None, what: str) -> bytes:
    """Return the key for a frame, NO_KEY for one that is not encrypted; BindKeyError otherwise."""
    if not frame.is_encrypted:
        if key is not None:
            raise BindKeyError(f"cannot {what}: it does not encrypt; leave the key out")
        return NO_KEY
    if key is None:
        raise BindKeyError(f"cannot {what}: it encrypts; give its bind key")
    secret = parse_key(key.reveal())
    if open_frame(frame, secret) is None:
        raise BindKeyError(
            f"cannot {what}: the key does not open what it sends; is it this sensor's bind key?"
        )
    return secret
