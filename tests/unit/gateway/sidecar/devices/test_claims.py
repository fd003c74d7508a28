import pytest

from gateway.http.problems import Problem
from gateway.sidecar.devices.claims import TTL_LIMIT_S, USES_LIMIT, ClaimRequest, read_claim_request


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        (b"", ClaimRequest(1, 3600)),
        (b" \n", ClaimRequest(1, 3600)),
        (b"{}", ClaimRequest(1, 3600)),
        (b'{"uses": 1000, "ttl_s": 2592000}', ClaimRequest(USES_LIMIT, TTL_LIMIT_S)),
        (b'{"uses": "5", "ttl_s": "60"}', ClaimRequest(5, 60)),
        (b'{"uses": 1.0, "ttl_s": 0.5}', ClaimRequest(1, 0.5)),
    ],
)
def test_good_requests(body: bytes, asked: ClaimRequest) -> None:
    assert read_claim_request(body) == asked


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"{", "body: not JSON"),
        (b"[]", "body: Input should be an object"),
        (b"null", "body: Input should be an object"),
        (b'{"uses": 0}', "uses: Input should be greater than or equal to 1"),
        (b'{"uses": 1001}', "uses: Input should be less than or equal to 1000"),
        (b'{"uses": null}', "uses: Input should be a valid integer"),
        (b'{"ttl_s": 0}', "ttl_s: Input should be greater than 0"),
        (b'{"ttl_s": 2592001}', "ttl_s: Input should be less than or equal to 2592000"),
        (b'{"ttl_s": "nan"}', "ttl_s: Input should be less than or equal to 2592000"),
        (b'{"ttl_s": []}', "ttl_s: Input should be a valid number"),
        (b'{"x": 1}', "x: Extra inputs are not permitted"),
        (b'{"x": 1, "ttl_s": 0, "uses": 0}', "uses: Input should be greater than or equal to 1"),
    ],
)
def test_bad_requests_name_the_first_wrong_field(body: bytes, why: str) -> None:
    with pytest.raises(Problem) as raised:
        read_claim_request(body)
    assert raised.value.status == 422
    assert str(raised.value) == f"cannot make claim token: {why}"
