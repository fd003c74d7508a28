"""Lists the cases that our broker fails, and why. An unneeded entry must go.

A pattern is searched for in the name of a case; the standard's words decide, not the suite's.
"""

from tests.conformance.runs import PAHO_5, SEQUENCES

# The standard leaves the choice to the broker, or sides with ours.
LAWFUL = {
    SEQUENCES: {
        r"proto ver 2\b": "who asks for a level below 4 is answered as in 3.1.1, with 0x01",
        # the data writes a surrogate as U+FFFF
        r"v5.0 +CONNECT 10 Client ID with (0x0000|U\+D800|U\+FFFF)": "no UTF-8 string: malformed",
        r"qos1 nolocal": "nobody but its sender subscribed: 0x10 is allowed",
        r"\$ topic - connection/state": "topics with $ are the broker's own, all of them",
        r"v5.0 +(PUBREC 50|PUBREL 62) unsolicited|(PUBREC|PUBREL) ALLOWED": "not found is 0x92",
        r"PUBREC-PUBREL\(\d\)-|v5.0 +PUBLISH 3[4C] QoS 2 Dup": "nobody subscribed: 0x10",
        r"Dup flow\*3": "a PUBLISH may be sent again more than once",
        r"(self publish|retain as normal) qos2": "delivery may begin before the PUBREL (method B)",
        r"v5.0 +OTHER subpub retain as normal": "finds what the case before it left retained",
        r"FORBIDDEN 0A with illegal length": "a packet is judged when it is whole",
    },
    PAHO_5: {
        "test_subscribe_failure": "not authorized is 0x87; the suite takes 0x80 only",
    },
}
