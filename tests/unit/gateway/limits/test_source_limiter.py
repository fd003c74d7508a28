from gateway.limits.source_limiter import SOURCES_LIMIT, SourceLimiter, source_of
from gateway.limits.token_bucket import Rate


def test_a_source_has_a_burst_and_then_a_rate() -> None:
    limiter = SourceLimiter(Rate(3, 10.0), Rate(100, 1.0))
    assert [limiter.admit("a", 0.0) for _ in range(4)] == [True, True, True, False]
    assert limiter.admit("b", 0.0)
    assert not limiter.admit("a", 9.0)
    assert limiter.admit("a", 10.5)
    assert not limiter.admit("a", 10.5)
    assert [limiter.admit("a", 1000.0) for _ in range(4)] == [True, True, True, False]
    assert not limiter.admit("a", 0.0)  # a clock that goes back gives nothing


def test_all_sources_together_have_a_rate() -> None:
    limiter = SourceLimiter(Rate(3, 10.0), Rate(100, 1.0))
    admitted = sum(limiter.admit(f"10.0.{n >> 8}.{n & 255}", 0.0) for n in range(5 * SOURCES_LIMIT))
    assert admitted == 100


def test_an_ipv6_network_is_one_source() -> None:
    assert source_of("192.0.2.7") == "192.0.2.7"
    assert source_of("::ffff:192.0.2.7") == "192.0.2.7"
    assert source_of("2001:db8::1") == source_of("2001:db8::ffff:1") == "2001:db8::/64"
    assert source_of("fe80::1%eth0") == "fe80::/64"
    assert source_of("") == ""
