"""Node records: what a node publishes about itself is always accepted by others."""

import time

import pytest

from protocol.errors import ContractError
from protocol.keys import new_node_key, new_sealing_key
from protocol.memberships import SepClaim, sign_membership
from protocol.records import (
    ID_LIMIT,
    LIST_LIMIT,
    PATH_LIMIT,
    Address,
    NodeRecord,
    OfferedService,
    fit_services,
    open_record,
    sign_record,
)

KEY, SEALING = new_node_key(), new_sealing_key().public


def service(number: int, id_size: int, path_size: int) -> OfferedService:
    name = f"{number:04d}".ljust(id_size, "s")
    return OfferedService(name, name, "/".ljust(path_size, "p"))


def signed(services: tuple[OfferedService, ...]) -> str:
    claim = SepClaim(2**53, 2**53, KEY.node_id)
    addresses = tuple(Address("cluster", f"https://[fe80::{n}]:8084") for n in range(8))
    record = NodeRecord(
        KEY.node_id, "ü" * 64, "1" * 20, KEY.node_id, SEALING, "a" * 64, addresses, services
    )
    statement = sign_membership(KEY.node_id, KEY, time.time(), claim)
    return sign_record(record, KEY, time.time(), statement, claim)


@pytest.mark.parametrize(
    ("count", "id_size", "path_size"),
    [(0, 9, 9), (1, 128, 256), (1, 129, 10), (1, 10, 585), (128, 60, 80), (128, 128, 256),
     (1000, 4, 1), (1000, 128, 256)],
)  # fmt: skip
def test_a_record_of_what_fits_is_accepted(count: int, id_size: int, path_size: int) -> None:
    offered = tuple(service(number, id_size, path_size) for number in range(count))
    fitting = fit_services(offered)
    assert open_record(signed(fitting), 0.0).services == fitting
    is_short = id_size <= ID_LIMIT and path_size <= PATH_LIMIT
    assert bool(fitting) is (is_short and count > 0)
    if is_short and id_size + path_size < 150:
        assert len(fitting) == min(count, LIST_LIMIT)


def test_a_service_without_room_takes_none_of_others() -> None:
    long, short = service(1, 129, 10), service(2, 20, 20)
    assert fit_services((long, short)) == (short,)
    with pytest.raises(ContractError):
        open_record(signed((long,)), 0.0)
