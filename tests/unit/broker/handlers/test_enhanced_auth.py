"""Enhanced authentication: who may say AUTH when, and what becomes of the connection."""

import pytest

from broker.policy import Accepted, AuthExchange, Challenge, Credentials, Identity, Refusal, Step
from broker.quota.limits import Limits
from broker.wire.packets import (
    MQTT_3_1_1,
    MQTT_5,
    Auth,
    ConnAck,
    Connect,
    Disconnect,
    Packet,
    PingReq,
    PingResp,
    Publish,
)
from broker.wire.property_values import Properties
from broker.wire.reasons import Reason
from tests.unit.broker.rig import Peer, Rig

METHOD = "COUNT"


class Counting:
    """Asks for the numbers 1, 2 ... and lets in at the last one."""

    def __init__(self, rig: "Counter", credentials: Credentials) -> None:
        self.rig, self.credentials, self.at = rig, credentials, 0

    async def step(self, data: bytes | None) -> Step:
        if data != b"%d" % self.at:
            return self.rig.no
        self.at += 1
        if self.at < self.rig.steps_wanted:
            return Challenge(b"%d?" % self.at)
        name = self.rig.name or self.credentials.client_id
        identity = Identity(name, self.credentials.client_id, self.rig.groups, self.rig.expires_at)
        return Accepted(identity, b"welcome")


class Counter(Rig):
    def __init__(self, limits: Limits | None = None) -> None:
        super().__init__(limits)
        self.steps_wanted = 2
        self.no = Refusal.NOT_AUTHORIZED
        self.name = ""
        self.groups: frozenset[str] = frozenset()
        self.begin = self.begin_counting
        self.begun: list[Credentials] = []

    def begin_counting(self, method: str, credentials: Credentials) -> AuthExchange | None:
        self.begun.append(credentials)
        return Counting(self, credentials) if method == METHOD else None


def properties(data: bytes | None = None, method: str | None = METHOD) -> Properties:
    return Properties(authentication_method=method, authentication_data=data)


def auth(
    data: bytes | None, method: str | None = METHOD, reason: Reason = Reason.CONTINUE_AUTHENTICATION
) -> Auth:
    return Auth(reason, properties(data, method))


def again(data: bytes = b"0", method: str = METHOD) -> Auth:
    return auth(data, method, Reason.RE_AUTHENTICATE)


def connect(rig: Rig, method: str = METHOD, data: bytes = b"0") -> Peer:
    return rig.connect("c", MQTT_5, properties=properties(data, method))


def online(rig: Rig) -> Peer:
    client = connect(rig)
    client.send(auth(b"1"))
    challenge, answer = client.take()
    assert challenge == auth(b"1?")
    assert isinstance(answer, ConnAck)
    assert answer.code == Reason.SUCCESS
    assert answer.properties.authentication_method == METHOD  # [MQTT-4.12.0-5]
    assert answer.properties.authentication_data == b"welcome"
    rig.pass_time(5)
    return client


def check_refused(client: Peer, reason: Reason) -> None:
    (answer,) = client.take()
    assert isinstance(answer, ConnAck)
    assert answer.code == reason
    assert client.closed


def check_ended(client: Peer, reason: Reason) -> None:
    (packet,) = client.take()
    assert isinstance(packet, Disconnect)
    assert packet.reason == reason
    assert client.closed


# [MQTT-4.12.0-5]
def test_lets_in_after_the_last_step() -> None:
    # [MQTT-4.12.0-2] [MQTT-3.15.2-1]
    rig = Counter()
    client = online(rig)
    assert rig.core.admin.connected() == {"c"}
    client.send(PingReq())
    assert client.take() == [PingResp()]
    rig.pass_time(30)
    assert not client.closed


def test_one_step_may_be_enough() -> None:
    rig = Counter()
    rig.steps_wanted = 1
    (answer,) = connect(rig).take()
    assert isinstance(answer, ConnAck)
    assert answer.properties.authentication_data == b"welcome"


def test_credentials_reach_the_method() -> None:
    rig = Counter()
    rig.connect("c", MQTT_5, name="n", password=b"p", properties=properties(b"0"))
    assert rig.begun == [Credentials("c", "n", b"p", "tcp", "10.0.0.1")]


def test_an_unknown_method_is_refused_by_name() -> None:
    # [MQTT-4.12.0-1]
    check_refused(connect(Counter(), "OTHER"), Reason.BAD_AUTHENTICATION_METHOD)
    check_refused(connect(Rig()), Reason.BAD_AUTHENTICATION_METHOD)


@pytest.mark.parametrize("first", [True, False])
def test_wrong_answers_are_refused(first: bool) -> None:
    # [MQTT-4.12.0-4]
    rig = Counter()
    client = connect(rig, data=b"x" if first else b"0")
    if not first:
        client.send(auth(b"x"))
        assert client.take()[:1] == [auth(b"1?")]
        client.received = b""
        assert client.closed
    else:
        check_refused(client, Reason.NOT_AUTHORIZED)
    assert rig.core.counters.refused["connect_not_authorized"] == 1
    assert rig.core.admin.connected() == frozenset()


@pytest.mark.parametrize(
    "packet",
    [
        PingReq(),
        Publish("a", b""),
        Connect("c", MQTT_5),
        auth(b"1", "OTHER"),  # [MQTT-4.12.0-5]
        auth(b"1", None),
        Auth(),
        again(),
        auth(b"1", reason=Reason.SUCCESS),  # only the broker says so
    ],
)
def test_nothing_else_comes_before_connack(packet: Packet) -> None:
    # [MQTT-3.1.2-30] [MQTT-4.12.0-3]
    rig = Counter()
    client = connect(rig)
    assert client.take() == [auth(b"1?")]
    client.send(packet)
    check_refused(client, Reason.PROTOCOL_ERROR)
    assert rig.core.counters.messages_received == 0


def test_an_auth_out_of_turn_is_a_fault_once_it_is_heard() -> None:
    rig = Counter()
    rig.decides = False
    client = connect(rig)
    client.send(auth(b"1"), auth(b"2"))
    assert client.take() == []
    assert not client.reads
    rig.decides = True
    rig.settle()
    challenge, answer, end = client.take()
    assert challenge == auth(b"1?")
    assert isinstance(answer, ConnAck)  # the second one came when it was in
    assert isinstance(end, Disconnect)
    assert end.reason == Reason.PROTOCOL_ERROR


def test_a_client_may_leave_in_between() -> None:
    rig = Counter()
    client = connect(rig)
    client.take()
    client.send(Disconnect())
    assert client.closed
    assert client.take() == []


def test_the_time_to_connect_holds_for_the_whole_exchange() -> None:
    rig = Counter(Limits(connect_timeout_s=10))
    rig.steps_wanted = 100
    client = connect(rig)
    for at in range(1, 5):
        rig.pass_time(2)
        client.send(auth(b"%d" % at))
    assert not client.closed
    rig.pass_time(2)
    assert client.aborted


@pytest.mark.parametrize("reason", [Reason.CONTINUE_AUTHENTICATION, Reason.RE_AUTHENTICATE])
def test_without_a_method_there_is_no_auth(reason: Reason) -> None:
    client = Counter().online("c", MQTT_5)
    client.send(auth(b"0", reason=reason))  # [MQTT-4.12.0-7]
    check_ended(client, Reason.PROTOCOL_ERROR)


def test_3_1_1_has_no_auth() -> None:
    client = Rig().online("c", MQTT_3_1_1)
    client.send_bytes(b"\xf0\x00")
    assert client.closed
    assert client.take() == []


# -- re-authentication


def test_re_authentication_goes_on_beside_everything_else() -> None:
    rig = Counter()
    client = online(rig)
    rig.decides = False
    client.send(again(), PingReq())
    assert client.take() == [PingResp()]
    rig.decides = True
    rig.settle()
    assert client.take() == [auth(b"1?")]
    client.send(PingReq(), auth(b"1"), PingReq())
    assert client.take() == [PingResp(), PingResp(), auth(b"welcome", reason=Reason.SUCCESS)]
    rig.pass_time(30)
    assert not client.closed


def test_answers_that_come_too_early_are_a_fault() -> None:
    rig = Counter()
    client = online(rig)
    rig.decides = False
    client.send(again(), auth(b"1"))
    check_ended(client, Reason.PROTOCOL_ERROR)
    rig.decides = True
    rig.settle()  # the method's answer is for nobody


def test_re_authentication_renews_rights_and_end() -> None:
    # [MQTT-3.15.2-1]
    rig = Counter()
    rig.expires_at = 100.0
    client = online(rig)
    client.subscribe("a")
    rig.rules.no_subscribe.add("a")
    rig.expires_at = 200.0
    client.send(again())
    client.send(auth(b"1"))
    assert client.take() == [auth(b"1?"), auth(b"welcome", reason=Reason.SUCCESS)]
    assert rig.core.counters.subscriptions == 0
    rig.core.end_expired(199.0, rig.now)
    rig.settle()
    assert not client.closed
    rig.core.end_expired(200.0, rig.now)
    rig.settle()
    check_ended(client, Reason.MAXIMUM_CONNECT_TIME)


def test_re_authentication_that_fails_ends_the_connection() -> None:
    # [MQTT-4.12.1-2]
    for refusal, reason in (
        (Refusal.NOT_AUTHORIZED, Reason.NOT_AUTHORIZED),
        (Refusal.BAD_CREDENTIALS, Reason.NOT_AUTHORIZED),
        (Refusal.SERVER_BUSY, Reason.SERVER_BUSY),
    ):
        rig = Counter()
        client = online(rig)
        rig.no = refusal
        client.send(again(b"x"))
        check_ended(client, reason)
        assert rig.core.counters.refused[f"reauthentication_{refusal.name.lower()}"] == 1


def test_re_authentication_as_another_user_fails() -> None:
    rig = Counter()
    client = online(rig)
    rig.name = "other"
    client.send(again())
    client.send(auth(b"1"))
    assert client.take()[0] == auth(b"1?")
    assert client.closed
    assert rig.core.admin.connected() == frozenset()


@pytest.mark.parametrize("packet", [again(method="OTHER"), auth(b"0"), Auth()])
def test_re_authentication_begins_by_the_same_method(packet: Auth) -> None:
    client = online(Counter())
    client.send(packet)  # [MQTT-4.12.1-1]
    check_ended(client, Reason.PROTOCOL_ERROR)


def test_re_authentication_has_its_time() -> None:
    rig = Counter(Limits(connect_timeout_s=10))
    client = online(rig)
    client.send(again())
    rig.pass_time(9)
    assert client.take() == [auth(b"1?")]
    rig.pass_time(1)
    check_ended(client, Reason.NOT_AUTHORIZED)
    assert rig.core.counters.refused["reauthentication_timeout"] == 1


def test_re_authentications_keep_a_distance() -> None:
    rig = Counter()
    rig.steps_wanted = 1
    client = connect(rig)
    client.take()
    for _ in range(2):
        client.send(again())
        assert client.take() == [auth(b"welcome", reason=Reason.SUCCESS)]
        rig.pass_time(1)
    client.send(again())
    client.take()
    client.send(again())
    check_ended(client, Reason.QUOTA_EXCEEDED)


# -- credentials that end


@pytest.mark.parametrize("version", [MQTT_3_1_1, MQTT_5])
def test_a_connection_ends_with_its_credentials_and_its_session_stays(version: int) -> None:
    rig = Rig()
    rig.expires_at = 50.0
    options: dict[str, object] = {"clean_start": False}
    if version == MQTT_5:
        options["properties"] = Properties(session_expiry_s=60)
    client = rig.online("c", version, **options)
    for wall, is_closed in ((49.0, False), (50.0, True)):
        rig.core.end_expired(wall, rig.now)
        rig.settle()
        assert client.closed is is_closed
    if version == MQTT_5:
        check_ended(client, Reason.MAXIMUM_CONNECT_TIME)
    assert rig.core.counters.refused["credentials_ended"] == 1
    rig.core.end_expired(51.0, rig.now)
    (answer,) = rig.connect("c", version, **options).take()
    assert isinstance(answer, ConnAck)
    assert answer.session_present
