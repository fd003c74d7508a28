"""Any bytes give a value or one of the contract's errors."""

import cbor2
from hypothesis import given
from hypothesis import strategies as st

from protocol.envelope import Envelope, EnvelopeKind, decode_envelope, encode_envelope
from protocol.errors import ContractError
from protocol.http_body import decode_request, decode_response
from protocol.records import from_fields
from protocol.tokens import verify_from_node

simple = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
values = st.recursive(
    simple,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)
maps = st.dictionaries(st.sampled_from(["v", "kind", "id", "to", "from", "expires", "m", "p", "h",
                                        "b", "s", "body", "key"]), values)  # fmt: skip


@given(st.binary() | maps.map(cbor2.dumps))
def test_decoders_refuse_politely(data: bytes) -> None:
    for decode in (decode_envelope, decode_request, decode_response):
        try:
            decode(data)
        except ContractError as exc:
            assert str(exc).startswith("cannot ")  # noqa: PT017  both outcomes are allowed


record_keys = st.sampled_from(
    ["id", "name", "account", "services", "addresses", "sealingKey", "version", "supernodeId"]
)


@given(st.dictionaries(record_keys, values))
def test_records_are_refused_politely(fields: dict[str, object]) -> None:
    try:
        from_fields(fields)
    except ContractError as exc:
        assert str(exc).startswith("cannot ")  # noqa: PT017  both outcomes are allowed


@given(st.text() | st.from_regex(r"[A-Za-z0-9_-]{2,40}\.[A-Za-z0-9_-]{2,40}\.[A-Za-z0-9_-]{0,40}"))
def test_tokens_are_refused_politely(token: str) -> None:
    try:
        verify_from_node(token, "mst", 0.0)
    except ContractError as exc:
        assert str(exc).startswith("cannot ")  # noqa: PT017  both outcomes are allowed


@given(
    st.builds(
        Envelope, st.sampled_from(EnvelopeKind), st.binary(max_size=20), st.text(), st.text(),
        st.floats(0, 2**40), st.binary(), st.binary(),
    )
)  # fmt: skip
def test_envelopes_survive(envelope: Envelope) -> None:
    assert decode_envelope(encode_envelope(envelope)) == envelope
