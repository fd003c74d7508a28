"""Defines the limits per client and in total.

Small by default: a gateway has little memory and other things to do. Every limit can be reached
in a test, every refusal and drop is counted by reason (counters.py).
"""

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one broker; sizes in bytes, times in seconds."""

    connections: int = 10_000
    connections_per_address: int = 1_000  # connection_limiter.py has the exceptions
    connects_per_s: float = 100.0  # of one address, after the burst
    connect_burst: int = 1_000  # a site behind one address that comes back from a power cut
    unauthenticated: int = 2_000  # connections whose CONNECT is not decided yet
    incomplete_bytes_total: int = 64 * MIB  # of packets that have not come whole
    stored_sessions: int = 10_000  # clients away whose session is kept
    sessions_per_identity: int = 10_000  # of these, of one identity
    session_expiry_s: int = 7 * 86_400  # also for 3.1.1, whose sessions would never end
    keep_alive_s: int = 65_535  # the longest, imposed on MQTT 5 clients; at 65 535 they choose
    connect_timeout_s: float = 10.0  # from the first byte to the decided CONNECT; a re-AUTH's too
    close_timeout_s: float = 5.0  # for a peer to take the last bytes
    connect_bytes: int = 128 * KIB  # a CONNECT: will payload and topic 64 KiB each at most
    packet_bytes: int = 2_000_000  # default of Mosquitto 2.1
    topic_levels: int = 32  # cost of matching follows them
    topic_bytes: int = 4 * KIB  # also of filters; caches and aliases hold thousands
    client_id_bytes: int = 1 * KIB  # also of user names
    subscriptions: int = 1_000  # per client
    subscriptions_bytes: int = 128 * MIB  # the sum over all subscriptions
    in_flight: int = 1_000  # QoS 1 and 2 messages sent to a client and not acknowledged
    holds: int = 1_000  # QoS 1 and 2 messages of a client that are not acknowledged yet
    topic_aliases: int = 32  # per client and direction
    unreleased: int = 10_000  # QoS 2 packet ids of a session that wait for their PUBREL
    queued_messages: int = 10_000  # per client, waiting behind those in flight
    queued_bytes: int = 4 * MIB  # per client, in flight and waiting
    queued_bytes_total: int = 64 * MIB
    retained_messages: int = 100_000
    retained_bytes: int = 64 * MIB
    output_bytes: int = 1 * MIB  # unread by a slow client; beyond it, QoS 0 is dropped
    output_bytes_total: int = 32 * MIB
    routes: int = 1_000  # remembered per client; topics are chosen by peers
