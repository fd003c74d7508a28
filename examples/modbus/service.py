"""Polls an energy meter over a serial line (Modbus RTU) and publishes what it measures."""

from dataclasses import dataclass

from pymodbus.client import AsyncModbusSerialClient
from pymodbus.exceptions import ModbusException

from microservice import Request, Service


@dataclass(frozen=True)
class Register:
    """One value of the meter, in its input registers; most meters have a table of them."""

    name: str
    address: int
    count: int  # registers of 16 bits, the high one first
    scale: float
    unit: str


REGISTERS = (
    Register("voltage", 0, 1, 0.1, "V"),
    Register("current", 1, 1, 0.01, "A"),
    Register("energy", 2, 2, 0.001, "kWh"),
)

service = Service()
failures = service.counter("modbus_failures", "Polls without an answer of the meter")
latest: dict[str, object] = {"values": {}, "error": "not polled yet"}


@service.every("5s")
async def poll() -> None:
    """Read all registers and publish them; a meter that is away is polled on."""
    unit = service.settings["unit"]
    try:
        values = await read_meter(unit)
    except (ModbusException, OSError) as exc:
        failures.add()
        if str(exc) != latest["error"]:  # an outage is logged once
            service.log.warning("cannot read meter", unit=unit, error=str(exc))
        latest["error"] = str(exc)
        return
    latest.update(values=values, error="")
    for name, value in values.items():
        await service.publish(f"meters/{unit}/{name}", value, retain=True)


@service.get("/latest")
async def latest_values(_: Request) -> dict[str, object]:
    """Answer the latest values, and why there are no newer ones."""
    return latest


async def read_meter(unit: int) -> dict[str, dict[str, object]]:
    """Return the values of the meter; open the line for each poll, so that it may be unplugged."""
    port, baudrate = service.settings["port"], service.settings["baudrate"]
    client = AsyncModbusSerialClient(port, baudrate=baudrate, timeout=1, retries=1)
    try:
        if not await client.connect():
            raise OSError(f"cannot open {port}")
        values: dict[str, dict[str, object]] = {}
        for register in REGISTERS:
            answer = await client.read_input_registers(
                register.address, count=register.count, device_id=unit
            )
            if answer.isError():
                raise ModbusException(f"the meter refuses {register.name}: {answer}")
            number = int.from_bytes(b"".join(word.to_bytes(2) for word in answer.registers))
            values[register.name] = {
                "value": round(number * register.scale, 3),
                "unit": register.unit,
            }
        return values
    finally:
        client.close()
