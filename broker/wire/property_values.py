"""Defines all properties of MQTT 5 (section 2.2.2) as one value."""

from dataclasses import dataclass

PROPERTIES_BYTES = 270  # of one value, and of one pair: measured with sys.getsizeof
PAIR_BYTES = 170


@dataclass(frozen=True, slots=True)
class Properties:
    """The properties of one packet; None means absent, names of times carry their unit."""

    payload_format: bool | None = None
    message_expiry_s: int | None = None
    content_type: str | None = None
    response_topic: str | None = None
    correlation_data: bytes | None = None
    subscription_identifiers: tuple[int, ...] = ()
    session_expiry_s: int | None = None
    assigned_client_id: str | None = None
    server_keep_alive_s: int | None = None
    authentication_method: str | None = None
    authentication_data: bytes | None = None
    request_problem_information: bool | None = None
    will_delay_s: int | None = None
    request_response_information: bool | None = None
    response_information: str | None = None
    server_reference: str | None = None
    reason_string: str | None = None
    receive_maximum: int | None = None
    topic_alias_maximum: int | None = None
    topic_alias: int | None = None
    maximum_qos: bool | None = None
    retain_available: bool | None = None
    user_properties: tuple[tuple[str, str], ...] = ()
    maximum_packet_bytes: int | None = None
    wildcards_available: bool | None = None
    subscription_ids_available: bool | None = None
    shared_subscriptions_available: bool | None = None

    @property
    def size_bytes(self) -> int:
        """The approximate memory of a message's properties."""
        pairs = sum(PAIR_BYTES + len(name) + len(value) for name, value in self.user_properties)
        texts = (self.content_type, self.response_topic, self.correlation_data)
        return PROPERTIES_BYTES + pairs + sum(len(each) for each in texts if each)


NO_PROPERTIES = Properties()
NEVER_EXPIRES = 0xFFFF_FFFF  # as session expiry interval
