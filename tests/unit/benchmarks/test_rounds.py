from benchmarks.brokers import OURS
from benchmarks.rounds import choose_repeated

TOOK = {"amqtt": 30.0, OURS: 4.0, "nats": 6.0, "mosquitto": 5.0, "aedes": 5.5}


def test_with_time_enough_all_are_run_again() -> None:
    assert set(choose_repeated(TOOK, left_s=110, rounds=2)) == set(TOOK)


def test_the_slowest_rivals_are_left_out_first() -> None:
    assert choose_repeated(TOOK, left_s=45, rounds=2) == [OURS, "mosquitto", "aedes", "nats"]
    assert choose_repeated(TOOK, left_s=30, rounds=2) == [OURS, "mosquitto", "aedes"]


def test_ours_and_the_first_rival_are_always_run_again() -> None:
    assert choose_repeated(TOOK, left_s=-1, rounds=2) == [OURS, "mosquitto"]
    assert choose_repeated({"aedes": 1.0, "nats": 2.0}, left_s=-1, rounds=2) == []
