from gateway.devices.credentials import digest_of, key_id
from gateway.devices.joining.claims import Claim, Claims
from gateway.devices.record import DAY_S, DeviceRecord
from gateway.devices.registry import DeviceRegistry
from gateway.links.keys import LinkKeys

DEVICE = "dev-0123456789ab"


def name_of(who: str, token: bytes) -> bytes:
    return f"{who}/{key_id(digest_of(token))}".encode()


def make_keys(expire_days: int = 0) -> tuple[LinkKeys, DeviceRecord]:
    device = DeviceRecord(DEVICE, "lamp", "sim", digest_of(b"old"), 1.0, token_made_at=100.0)
    claims = Claims([Claim(digest_of(b"claim"), 1, expires_at=200.0)])
    return LinkKeys(DeviceRegistry([device]), claims, expire_days), device


def test_the_key_of_a_device_is_the_digest_of_its_token() -> None:
    keys, _ = make_keys()
    found = keys.find(name_of(DEVICE, b"old"), 150.0)
    assert found is not None
    assert (found.proves, found.key.hex()) == (DEVICE, digest_of(b"old"))
    assert found.key.hex() not in repr(found)


def test_both_tokens_are_good_while_a_device_is_given_a_new_one() -> None:
    keys, device = make_keys()
    assert keys.find(name_of(DEVICE, b"new"), 150.0) is None
    device.offer_token(digest_of(b"new"), 150.0)
    for token in (b"old", b"new"):
        found = keys.find(name_of(DEVICE, token), 150.0)
        assert found is not None
        assert found.key.hex() == digest_of(token)
    device.note_token(b"new")
    assert keys.find(name_of(DEVICE, b"old"), 150.0) is None


def test_revoked_unknown_and_old_keys_are_not_found() -> None:
    keys, device = make_keys(expire_days=1)
    assert keys.find(name_of("dev-ffffffffffff", b"old"), 150.0) is None
    assert keys.find(name_of(DEVICE, b"old"), 100.0 + DAY_S) is not None
    assert keys.find(name_of(DEVICE, b"old"), 101.0 + DAY_S) is None
    device.revoke(150.0)
    assert keys.find(name_of(DEVICE, b"old"), 150.0) is None
    assert keys.find(name_of(DEVICE, b""), 150.0) is None


def test_a_claim_token_is_found_by_its_id_until_it_expires() -> None:
    keys, _ = make_keys()
    found = keys.find(name_of("claim", b"claim"), 200.0)
    assert found is not None
    assert found.key.hex() == digest_of(b"claim")
    assert digest_of(b"claim") not in found.proves
    assert keys.find(name_of("claim", b"claim"), 200.1) is None


def test_names_that_are_none_are_not_found() -> None:
    keys, _ = make_keys()
    for name in (b"", b"/", b"claim", b"claim/", DEVICE.encode(), b"\xff\xfe/\xff", b"a/b/c"):
        assert keys.find(name, 150.0) is None
