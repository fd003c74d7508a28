"""Encodes what nodes of a cluster send each other: CBOR maps, each after its length.

A receiver ignores fields that it does not know, so that nodes one version apart work together; a
frame that lacks a field, or holds a wrong type, ends the link.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import cbor2

from gateway.cluster.election.heartbeat import EPOCH_LIMIT, Heartbeat, Role, RoleClaim
from gateway.cluster.election.rank import CAPABILITY_LIMIT, UPTIME_CLASSES_S, Rank
from protocol.envelope import ENVELOPE_LIMIT_BYTES
from protocol.errors import WireError
from protocol.ids import NODE_ID
from protocol.memberships import SepClaim
from protocol.records import SIGNED_LIMIT
from settings.addresses import HostPort

VERSION = 1
LENGTH = struct.Struct("!I")
FRAME_LIMIT_BYTES = ENVELOPE_LIMIT_BYTES + 1024  # a SEP envelope and its topic
HEARS_LIMIT = 1200
SUCCESSORS_LIMIT = 16
ADDRESSES_LIMIT = 32
TEXT_LIMIT = 256
INCARNATION_BYTES = 16


@dataclass(frozen=True, slots=True)
class Hello:
    """The first frame of both ends.

    Attributes:
        incarnation: random bytes of this run; two runs with one node id differ in them.
        proof: what admits the node: a membership credential, or a proof of the shared secret.
        addresses: host:port of its cluster port, for peers that know it by others.
    """

    incarnation: bytes
    proof: str = ""
    addresses: tuple[str, ...] = ()
    version: int = VERSION


@dataclass(frozen=True, slots=True)
class NotAdmitted:
    """The peer is not admitted."""

    reason: str


@dataclass(frozen=True, slots=True)
class Beat:
    """A heartbeat, with the addresses of nodes that the receiver may need to reach."""

    heartbeat: Heartbeat
    addresses: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OwnRecord:
    """The signed record of the sender."""

    signed: str


@dataclass(frozen=True, slots=True)
class DirectoryVersion:
    """A state of one supernode's directory: its term of office, and a count of changes."""

    term: bytes = b""
    number: int = 0


@dataclass(frozen=True, slots=True)
class RecordQuery:
    """A member asks for what has changed since a version of the supernode's directory."""

    since: DirectoryVersion


@dataclass(frozen=True, slots=True)
class RecordChanges:
    """Part of the answer: signed records that are new, and the ids of nodes that are gone.

    Attributes:
        version: what the receiver has when the last part has come.
        is_last: no part follows.
        is_whole: the answer has all records; of a receiver's others, nothing is left.
    """

    version: DirectoryVersion
    put: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    is_last: bool = True
    is_whole: bool = False


@dataclass(frozen=True, slots=True)
class RecordCount:
    """The number of records that the supernode has, after it has got one."""

    count: int


@dataclass(frozen=True, slots=True)
class VouchRequest:
    """The supernode asks the member that holds the SEP to vouch for a node of the cluster.

    Attributes:
        node_id: the node.
        claim: by which the receiver holds the SEP; it may not have heard of it yet.
    """

    node_id: str
    claim: SepClaim


@dataclass(frozen=True, slots=True)
class Vouch:
    """The SEP holder's signed statement that it forwards to a node, for the cloud.

    Attributes:
        node_id: the node that it is about; "" for the receiver.
    """

    statement: str
    node_id: str = ""


@dataclass(frozen=True, slots=True)
class SepMessage:
    """A sealed SEP envelope: a request without a topic, or an answer with that of the cloud.

    Attributes:
        holder_id: of a request, the node that has it from the cloud; "" for the sender.
    """

    topic: str
    payload: bytes
    holder_id: str = ""


Frame = (
    Hello
    | NotAdmitted
    | Beat
    | OwnRecord
    | RecordQuery
    | RecordChanges
    | RecordCount
    | VouchRequest
    | Vouch
    | SepMessage
)


def encode_frame(frame: Frame) -> bytes:
    """Return a frame with its length."""
    body = cbor2.dumps(_to_map(frame))
    return LENGTH.pack(len(body)) + body


def decode_frame(body: bytes) -> Frame:
    """Return the frame in the bytes after its length; WireError when it is malformed."""
    try:
        values = _of(cbor2.loads(body), dict)
        return _READERS[_of(values["is"], str)](values)
    except (cbor2.CBORDecodeError, ValueError, KeyError, TypeError, RecursionError) as exc:
        raise WireError(f"cannot read frame of a peer: {exc}") from exc


def _to_map(frame: Frame) -> dict[str, Any]:
    match frame:
        case Hello():
            fields: dict[str, Any] = {
                "v": frame.version,
                "run": frame.incarnation,
                "proof": frame.proof,
                "at": list(frame.addresses),
            }
        case NotAdmitted():
            fields = {"why": frame.reason[:TEXT_LIMIT]}
        case Beat():
            addresses = {node_id: list(each) for node_id, each in frame.addresses.items()}
            fields = {"at": addresses, **_heartbeat_map(frame.heartbeat)}
        case OwnRecord() | RecordQuery() | RecordChanges() | RecordCount():
            fields = _record_fields(frame)
        case VouchRequest():
            fields = {"node": frame.node_id, "sep": _claim_list(frame.claim)}
        case Vouch():
            fields = {"statement": frame.statement, "node": frame.node_id}
        case SepMessage():
            fields = {"topic": frame.topic, "payload": frame.payload, "via": frame.holder_id}
    return {"is": _KINDS[type(frame)], **fields}


def _record_fields(
    frame: OwnRecord | RecordQuery | RecordChanges | RecordCount,
) -> dict[str, Any]:
    match frame:
        case OwnRecord():
            return {"record": frame.signed}
        case RecordQuery():
            return {"term": frame.since.term, "n": frame.since.number}
        case RecordChanges():
            return {
                "term": frame.version.term,
                "n": frame.version.number,
                "put": list(frame.put),
                "gone": list(frame.gone),
                "last": frame.is_last,
                "whole": frame.is_whole,
            }
        case RecordCount():
            return {"n": frame.count}


def _heartbeat_map(heartbeat: Heartbeat) -> dict[str, Any]:
    rank = heartbeat.rank
    return {
        "id": heartbeat.node_id,
        "role": heartbeat.role.value,
        "epoch": heartbeat.claim.epoch,
        "supernode": heartbeat.claim.supernode_id,
        "rank": [rank.is_settled, rank.is_stationary, rank.capability, rank.uptime_class],
        "hears": sorted(heartbeat.hears),
        "next": list(heartbeat.successors),
        "members": heartbeat.has_members,
        "fit": heartbeat.is_fit,
        "cloud": heartbeat.reaches_cloud,
        "of": heartbeat.cloud,
        "sep": _claim_list(heartbeat.sep) if heartbeat.sep is not None else None,
    }


def _claim_list(claim: SepClaim) -> list[int | str]:
    return [claim.epoch, claim.number, claim.holder_id]


def _read_hello(values: dict[str, Any]) -> Hello:
    incarnation = _of(values["run"], bytes)
    if len(incarnation) != INCARNATION_BYTES:
        raise ValueError("a run is named by 16 bytes")
    return Hello(
        incarnation,
        _text(values["proof"], SIGNED_LIMIT),
        _addresses(values["at"]),
        _number(values["v"], 1_000_000),
    )


def _read_beat(values: dict[str, Any]) -> Beat:
    at = _of(values["at"], dict)
    if len(at) > SUCCESSORS_LIMIT:
        raise ValueError("too many addresses")
    addresses = {_node_id(key): _addresses(each) for key, each in at.items()}
    return Beat(_heartbeat(values), addresses)


def _read_changes(values: dict[str, Any]) -> RecordChanges:
    return RecordChanges(
        _version(values),
        tuple(_text(each, SIGNED_LIMIT) for each in _of(values["put"], list)),
        tuple(_node_id(each) for each in _of(values["gone"], list)),
        _of(values["last"], bool),
        _of(values["whole"], bool),
    )


_READERS: dict[str, Callable[[dict[str, Any]], Frame]] = {
    "hello": _read_hello,
    "refused": lambda values: NotAdmitted(_text(values["why"])),
    "beat": _read_beat,
    "own": lambda values: OwnRecord(_text(values["record"], SIGNED_LIMIT)),
    "query": lambda values: RecordQuery(_version(values)),
    "records": _read_changes,
    "ask": lambda values: VouchRequest(_node_id(values["node"]), _claim(values["sep"])),
    "vouch": lambda values: Vouch(
        _text(values["statement"], SIGNED_LIMIT), _optional_id(values.get("node", ""))
    ),
    "count": lambda values: RecordCount(_number(values["n"], EPOCH_LIMIT)),
    "sep": lambda values: SepMessage(
        _text(values["topic"]), _of(values["payload"], bytes), _optional_id(values.get("via", ""))
    ),
}
_KINDS: dict[type, str] = {
    Hello: "hello", NotAdmitted: "refused", Beat: "beat", OwnRecord: "own", RecordQuery: "query",
    RecordChanges: "records", RecordCount: "count", VouchRequest: "ask", Vouch: "vouch",
    SepMessage: "sep",
}  # fmt: skip


def _heartbeat(values: dict[str, Any]) -> Heartbeat:
    settled, stationary, capability, uptime = _of(values["rank"], list)[:4]
    sep = values.get("sep")
    return Heartbeat(
        node_id=_node_id(values["id"]),
        role=Role(values["role"]),
        claim=RoleClaim(_number(values["epoch"], EPOCH_LIMIT), _optional_id(values["supernode"])),
        rank=Rank(
            _of(stationary, bool),
            _number(capability, CAPABILITY_LIMIT),
            _number(uptime, len(UPTIME_CLASSES_S)),
            _of(settled, bool),
        ),
        hears=frozenset(_ids(values["hears"], HEARS_LIMIT)),
        successors=_ids(values["next"], SUCCESSORS_LIMIT),
        has_members=_of(values["members"], bool),
        is_fit=_of(values["fit"], bool),
        reaches_cloud=_of(values.get("cloud", False), bool),
        cloud=_text(values.get("of", "")),
        sep=_claim(sep) if sep is not None else None,
    )


def _claim(value: Any) -> SepClaim:
    epoch, number, holder_id = _of(value, list)[:3]
    return SepClaim(
        _number(epoch, EPOCH_LIMIT), _number(number, EPOCH_LIMIT), _optional_id(holder_id)
    )


def _version(values: dict[str, Any]) -> DirectoryVersion:
    term = _of(values["term"], bytes)
    if len(term) > INCARNATION_BYTES:
        raise ValueError("a term is named by at most 16 bytes")
    return DirectoryVersion(term, _number(values["n"], EPOCH_LIMIT))


def _of(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise ValueError(f"{type(value).__name__}, not {kind.__name__}")
    return value


def _number(value: Any, limit: int) -> int:
    number = int(_of(value, int))
    if not 0 <= number <= limit:
        raise ValueError(f"{number} is not from 0 to {limit}")
    return number


def _text(value: Any, limit: int = TEXT_LIMIT) -> str:
    text = str(_of(value, str))
    if len(text) > limit or not text.isprintable():
        raise ValueError(f"not a printable text of at most {limit} characters")
    return text


def _node_id(value: Any) -> str:
    text = str(_of(value, str))
    if not NODE_ID.fullmatch(text):
        raise ValueError("not a node id")
    return text


def _optional_id(value: Any) -> str:
    return "" if value == "" else _node_id(value)


def _ids(values: Any, limit: int) -> tuple[str, ...]:
    ids = _of(values, list)
    if len(ids) > limit:
        raise ValueError(f"more than {limit} ids")
    return tuple(_node_id(each) for each in ids)


def _addresses(values: Any) -> tuple[str, ...]:
    addresses = _of(values, list)
    if len(addresses) > ADDRESSES_LIMIT:
        raise ValueError(f"more than {ADDRESSES_LIMIT} addresses")
    return tuple(str(HostPort.parse(_text(each))) for each in addresses)
