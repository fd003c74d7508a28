from cloud.signalling.unserved import UNSERVED_S, Unserved


def test_a_bep_that_left_the_relay_is_found_at_once() -> None:  # case G7
    unserved = Unserved()
    assert unserved.find({"a", "b"}, {"a", "b"}, 0) == []
    assert unserved.find({"a", "b"}, {"b"}, 5) == ["a"]
    assert unserved.find({"b"}, {"b"}, 10) == []


def test_a_bep_that_nobody_came_to_serve_is_found_after_a_while() -> None:  # case G7
    unserved = Unserved()
    assert unserved.find({"a"}, (), 0) == []
    assert unserved.find({"a"}, (), UNSERVED_S - 1) == []
    assert unserved.find({"a"}, (), UNSERVED_S) == ["a"]


def test_a_node_that_connects_in_time_keeps_its_bep() -> None:
    unserved = Unserved()
    assert unserved.find({"a"}, (), 0) == []
    assert unserved.find({"a"}, {"a"}, UNSERVED_S + 1) == []


def test_only_what_is_stored_is_remembered() -> None:
    unserved = Unserved()
    for number in range(100):
        assert unserved.find({str(number)}, {str(number), "of another process"}, number) == []
        assert unserved.find({str(number)}, (), number) == [str(number)]
    assert unserved.find((), (), 200) == []
    assert unserved._served == set()
    assert unserved._missing == {}
