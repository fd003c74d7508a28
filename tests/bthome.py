"""Makes advertisements as sensors of BTHome v2 send them."""

from cryptography.hazmat.primitives.ciphers.aead import AESCCM

from gateway.sensors.frames import SERVICE_UUID
from hardware.radio.advertisement import Advertisement

ADDRESS = "A4:C1:38:0B:1C:2D"
KEY = "231d39c1d7cc1ab1aee224cd096db932"
OTHER_KEY = "00112233445566778899aabbccddeeff"
CLIMATE = "02ca0903bf13"  # 25.06 °C, 50.55 %
PLAIN, ENCRYPTED, TRIGGER_BASED = 0x40, 0x41, 0x04


def celsius(value: float) -> str:
    """Return the object of a temperature, in hexadecimal digits."""
    return "02" + round(value * 100).to_bytes(2, "little", signed=True).hex()


def advertise(
    objects: str,
    address: str = ADDRESS,
    *,
    name: str = "",
    at: float = 0.0,
    flags: int = 0,
    rssi: int = -60,
    address_type: str = "public",
) -> Advertisement:
    """Return an advertisement of objects in hexadecimal digits, not encrypted."""
    return of_data(bytes((PLAIN | flags,)) + bytes.fromhex(objects), address, name=name, at=at,
                   rssi=rssi, address_type=address_type)  # fmt: skip


def encrypt(
    objects: str,
    counter: int,
    address: str = ADDRESS,
    *,
    key: str = KEY,
    name: str = "",
    at: float = 0.0,
    flags: int = 0,
) -> Advertisement:
    """Return an advertisement of objects in hexadecimal digits, encrypted."""
    information = bytes((ENCRYPTED | flags,))
    count = counter.to_bytes(4, "little")
    nonce = bytes.fromhex(address.replace(":", "")) + b"\xd2\xfc" + information + count
    sealed = AESCCM(bytes.fromhex(key), tag_length=4).encrypt(nonce, bytes.fromhex(objects), None)
    data = information + sealed[:-4] + count + sealed[-4:]
    return of_data(data, address, name=name, at=at)


def of_data(
    data: bytes,
    address: str = ADDRESS,
    *,
    name: str = "",
    at: float = 0.0,
    rssi: int = -60,
    address_type: str = "public",
) -> Advertisement:
    """Return an advertisement of the service data of BTHome."""
    return Advertisement(
        address=address,
        rssi_dbm=rssi,
        heard_at=at,
        name=name,
        service_uuids=(SERVICE_UUID,),
        service_data={SERVICE_UUID: data},
        address_type=address_type,
    )


def on_air(sent: Advertisement, name: str = "") -> bytes:
    """Return the bytes of an advertisement."""
    data = sent.service_data[SERVICE_UUID]
    named = bytes((len(name) + 1, 0x09)) + name.encode() if name else b""
    return bytes.fromhex("020106") + bytes((len(data) + 3, 0x16)) + b"\xd2\xfc" + data + named
