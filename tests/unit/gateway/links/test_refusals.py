from gateway.links.refusals import BURST, REMEMBERED, RETRY_S, RefusalLimiter


def test_a_link_with_bad_keys_has_to_wait_and_others_do_not() -> None:
    limiter = RefusalLimiter()
    for _ in range(BURST):
        assert limiter.may_try("serial:1", 0.0)
        limiter.refuse("serial:1", 0.0)
    assert not limiter.may_try("serial:1", RETRY_S - 0.1)
    assert limiter.may_try("serial:2", 0.0)
    assert limiter.may_try("serial:1", RETRY_S)
    limiter.refuse("serial:1", RETRY_S)
    assert not limiter.may_try("serial:1", RETRY_S)
    assert limiter.may_try("serial:1", 3 * RETRY_S)


def test_a_good_key_forgives() -> None:
    limiter = RefusalLimiter()
    for _ in range(BURST):
        limiter.refuse("serial:1", 0.0)
    limiter.forgive("serial:1")
    assert limiter.may_try("serial:1", 0.0)


def test_names_of_links_do_not_pile_up() -> None:
    limiter = RefusalLimiter()
    for number in range(3 * REMEMBERED):  # as addresses that change
        limiter.refuse(f"ble:{number}", 0.0)
    assert len(limiter._left) == REMEMBERED
