"""Publishes the readings of accepted sensors, and keeps strangers at the door.

intake.py queues what the scanner hears, sensor.py decides which frames count, strangers.py keeps
the sensors that nobody has accepted, decisions.py carries out what the owner decides. One task
works on all frames that wait, stores the counters that have to be stored first, and publishes.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from broker import LocalClient
from gateway.devices.admission import DeviceAdmission
from gateway.devices.record import DeviceRecord
from gateway.sensors.errors import SensorError
from gateway.sensors.frames import Frame, FrameError, FrameFault, open_frame
from gateway.sensors.intake import HeardFrame, Intake
from gateway.sensors.publisher import SensorPublisher
from gateway.sensors.sensor import REMEDIES, Decode, Sensor, SensorProblem, SensorSettings
from gateway.sensors.store import FloorKeeper, SensorStore
from gateway.sensors.strangers import Stranger, Strangers, printable_name
from gateway.sensors.values import Packet
from hardware.radio.advertisement import Advertisement
from protocol.topics import ONLINE, status_topic

logger = logging.getLogger(__name__)

FAILED, NOT_STORED = "failed", "not stored"  # frames that this program could not take, or store
TICK_S = 15.0  # between looks for silent sensors
_Counted = tuple[Sensor, Packet, int]  # a packet that counts, and its signal in dBm
NO_LIBRARY = (
    "cannot decode BTHome sensors: bthome-ble is not installed; "
    "run pip install 'hecate-gateway[sensors]' and restart"
)


@dataclass(frozen=True, slots=True)
class SensorClocks:
    """The clocks: of the wall, and of the scanner."""

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic


def _import_decoder() -> Decode:
    from gateway.sensors.bthome import decode_objects

    return decode_objects


class SensorHub:
    """The sensors of a node; use it on the event loop only."""

    def __init__(
        self,
        store: SensorStore,
        admission: DeviceAdmission,
        local: LocalClient,
        accepted: Iterable[SensorSettings] = (),
        clocks: SensorClocks | None = None,
        *,
        can_hear: bool = True,
    ) -> None:
        self.clocks = clocks or SensorClocks()
        self.strangers = Strangers()
        self._admission, self._local = admission, local
        self._floors = FloorKeeper(store)
        self._publisher = SensorPublisher(admission.registry, local, self.clocks.wall)
        self._can_hear = can_hear  # False without a radio
        self._accepted = list(accepted)  # until attach()
        self._sensors: dict[str, Sensor] = {}  # by address
        self._intake = Intake(lambda address: address in self._sensors)
        self._wake = asyncio.Event()
        self._decode: Decode | None = None
        self._is_library_missing = False
        self._logged: set[FrameFault] = set()
        self._told: set[tuple[str, SensorProblem]] = set()

    def attach(self) -> None:
        """Read which sensors were online; call it when the broker has its retained messages."""
        now = self.clocks.monotonic()
        for settings in self._accepted:
            was_online = self._retained_status(settings.device_id) == ONLINE
            sensor = Sensor(settings, now, is_online=was_online and self._can_hear)
            self._sensors[settings.address] = sensor
            if was_online and not self._can_hear:
                self._publisher.tell_offline(sensor)
        self._accepted = []

    # input ----------------------------------------------------------------------------

    def hear(self, advertisement: Advertisement) -> None:
        """Take an advertisement from the scanner; never raises because of its content."""
        try:
            self._intake.put(advertisement)
        except FrameError as exc:
            self._count_fault(exc.fault, advertisement.address)
        if len(self._intake):
            self._wake.set()

    async def run(self) -> None:
        """Work on what is heard until cancelled; the broker runs already."""
        self.attach()
        while True:
            try:
                async with asyncio.timeout(TICK_S if self._sensors else None):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            await self.work()

    async def work(self) -> None:
        """Publish what waits, and tell which sensors have fallen silent."""
        heard = self._intake.take()
        if heard and await self._load_decoder():
            counted = [each for each in map(self._try_take, heard) if each is not None]
            lost = await self._floors.store([sensor for sensor, _, _ in counted])
            for sensor, packet, rssi_dbm in counted:
                if sensor.device_id in lost:
                    self._intake.counts[NOT_STORED] += 1
                else:
                    self._publisher.publish(sensor, packet, rssi_dbm)
        now = self.clocks.monotonic()
        for sensor in list(self._sensors.values()):
            record = self.record_of(sensor)
            if record is None or record.is_revoked:
                sensor.presence.end()
            elif not sensor.is_trigger_based and sensor.presence.expire(now):
                self._publisher.tell_offline(sensor)

    async def stop(self) -> None:
        """Store the exact counters, so that the next start loses no frame."""
        await self._floors.store_exactly(list(self._sensors.values()))

    # queries --------------------------------------------------------------------------

    @property
    def counts(self) -> Mapping[str, int]:
        """The numbers of frames by result."""
        return self._intake.counts | {"displaced": self.strangers.displaced}

    def online(self) -> frozenset[str]:
        """Return the ids of the sensors that are online."""
        return frozenset(s.device_id for s in self._sensors.values() if s.presence.is_online)

    def find(self, address: str) -> Sensor | None:
        """Return the accepted sensor with an address, or None."""
        sensor = self._sensors.get(address)
        if sensor is not None and self.record_of(sensor) is None:  # it was forgotten
            del self._sensors[address]
            return None
        return sensor

    def by_device(self) -> dict[str, Sensor]:
        """Return the accepted sensors by the ids of their devices."""
        return {sensor.device_id: sensor for sensor in self._sensors.values()}

    def of_device(self, device_id: str) -> Sensor | None:
        """Return the sensor that is a device, or None."""
        return self.by_device().get(device_id)

    def record_of(self, sensor: Sensor) -> DeviceRecord | None:
        """Return the device that a sensor is; None once it was forgotten."""
        return self._admission.registry.get(sensor.device_id)

    def add(self, sensor: Sensor, record: DeviceRecord) -> None:
        """Accept a sensor that is stored."""
        self._sensors[sensor.address] = sensor
        self.strangers.remove(sensor.address)
        self._admission.add(record)
        self._wake.set()  # from now on there is a sensor that may fall silent

    def decode(self, frame: Frame, key: bytes, name: str) -> Packet:
        """Return the content of a stranger's frame; SensorError when it has none."""
        objects = open_frame(frame, key) if frame.is_encrypted else frame.body
        assert self._decode is not None  # a stranger was decoded before
        try:
            return self._decode(objects or b"", frame.address, name)
        except FrameError as exc:
            raise SensorError(f"cannot decode {frame.address}: {exc}") from exc

    def take_known(self, sensor: Sensor, frame: Frame, stranger: Stranger) -> None:
        """Publish the values that a sensor sent last before it was accepted; events are over."""
        assert self._decode is not None  # a stranger was decoded before
        try:
            _, packet = sensor.take(frame, stranger.name, self.clocks.monotonic(), self._decode)
        except FrameError:
            return
        if packet is not None:
            age_s = max(self.clocks.monotonic() - stranger.heard_at, 0.0)
            known = replace(packet, events=())
            self._publisher.publish(sensor, known, stranger.rssi_dbm, age_s)

    def note_decision(self, sensor: Sensor) -> None:
        """Note that the owner has mended what was wrong; a new problem is logged again."""
        self._told = {told for told in self._told if told[0] != sensor.device_id}
        self._note_problem(sensor)

    # -----------------------------------------------------------------------------------

    def _retained_status(self, device_id: str) -> bytes:
        topic, found = status_topic(device_id), [b""]
        self._local.subscribe(topic, lambda message: found.append(message.payload))
        self._local.unsubscribe(topic)
        return found[-1]

    async def _load_decoder(self) -> bool:
        """Return whether packets can be decoded; the import takes time, so a thread does it."""
        if self._decode is None and not self._is_library_missing:
            try:
                self._decode = await asyncio.to_thread(_import_decoder)
            except ImportError:
                self._is_library_missing = True
                logger.warning("%s", NO_LIBRARY)
        return self._decode is not None

    def _try_take(self, heard: HeardFrame) -> _Counted | None:
        """Take a frame; a fault of this program in one must not affect the next."""
        try:
            return self._take(heard)
        except Exception:
            self._intake.counts[FAILED] += 1
            if self._intake.counts[FAILED] == 1:  # anybody's advertisement may cause it
                logger.exception("cannot take a frame of %s", heard.frame.address)
            return None

    def _take(self, heard: HeardFrame) -> _Counted | None:
        assert self._decode is not None  # work() has loaded it
        frame, advertisement = heard.frame, heard.advertisement
        sensor = self.find(frame.address)
        if sensor is None:
            self._note_stranger(heard)
            return None
        record = self.record_of(sensor)
        if record is None or record.is_revoked:
            self._intake.counts["revoked"] += 1
            return None
        name = printable_name(advertisement.name)
        try:
            outcome, packet = sensor.take(frame, name, advertisement.heard_at, self._decode)
        except FrameError as exc:
            self._count_fault(exc.fault, frame.address)
            return None
        self._intake.counts[outcome] += 1
        self._note_problem(sensor)
        return None if packet is None else (sensor, packet, advertisement.rssi_dbm)

    def _note_stranger(self, heard: HeardFrame) -> None:
        assert self._decode is not None  # work() has loaded it
        frame, advertisement = heard.frame, heard.advertisement
        name, packet = printable_name(advertisement.name), None
        if not frame.is_encrypted:
            try:
                packet = self._decode(frame.body, frame.address, name)
            except FrameError as exc:
                self._count_fault(exc.fault, frame.address)
                return
        self._intake.counts["of strangers"] += 1
        self.strangers.note(frame, advertisement, name, packet)

    def _note_problem(self, sensor: Sensor) -> None:
        record = self.record_of(sensor)
        if record is None or not self._admission.note_problem(record, str(sensor.problem)):
            return
        if sensor.problem and (sensor.device_id, sensor.problem) not in self._told:
            self._told.add((sensor.device_id, sensor.problem))
            logger.warning(
                "sensor %s (%s): %s; %s",
                record.name, sensor.device_id, sensor.problem,
                REMEDIES[sensor.problem].format(sensor.device_id),
            )  # fmt: skip

    def _count_fault(self, fault: FrameFault, address: str) -> None:
        self._intake.counts[fault] += 1
        if fault not in self._logged:
            self._logged.add(fault)
            logger.info(
                "a frame of %s is dropped: %s; such frames are counted from now on", address, fault
            )
