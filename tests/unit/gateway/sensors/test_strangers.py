from gateway.sensors.frames import Frame
from gateway.sensors.strangers import SILENT_S, Strangers, printable_name
from tests.bthome import advertise


def frame(number: int) -> Frame:
    return Frame(f"A4:C1:38:00:{number // 256:02X}:{number % 256:02X}", 0x40, b"\x01\x64")


def hear(strangers: Strangers, number: int, at: float, name: str = "") -> None:
    heard = frame(number)
    strangers.note(heard, advertise("0164", heard.address, at=at), name, None)


def test_a_flood_of_invented_addresses_displaces_itself() -> None:
    strangers = Strangers(limit=8)
    for _ in range(2):
        for number in range(3):
            hear(strangers, number, 1.0)
    for number in range(100, 1100):
        hear(strangers, number, 2.0 + number)
    assert len(strangers) == 8
    known = {stranger.address for stranger in strangers.all(1200.0)}
    assert {frame(number).address for number in range(3)} <= known
    assert frame(1099).address in known
    assert strangers.displaced == 995


def test_among_those_that_go_on_the_one_that_is_silent_longest_makes_room() -> None:
    strangers = Strangers(limit=2)
    for at, number in ((0.0, 1), (1.0, 2), (2.0, 1), (3.0, 2), (4.0, 3)):
        hear(strangers, number, at)
    assert [stranger.address for stranger in strangers.all(4.0)] == [
        frame(2).address, frame(3).address,
    ]  # fmt: skip


def test_a_silent_sensor_is_forgotten() -> None:
    strangers = Strangers()
    hear(strangers, 1, 0.0)
    hear(strangers, 2, SILENT_S)
    assert strangers.get(frame(1).address, SILENT_S) is not None
    assert strangers.get(frame(1).address, SILENT_S + 1) is None
    assert len(strangers.all(SILENT_S + 1)) == 1


def test_a_name_is_safe_to_show() -> None:
    assert printable_name(" a\x1b[2Jb\n" + "c" * 100) == ("a[2Jb" + "c" * 100)[:64]


def test_a_name_that_came_once_stays() -> None:
    strangers = Strangers()
    for at, name in ((0.0, ""), (1.0, "ATC"), (2.0, "")):
        hear(strangers, 1, at, name)
    (stranger,) = strangers.all(2.0)
    assert (stranger.name, stranger.frames, stranger.first_at) == ("ATC", 3, 0.0)
