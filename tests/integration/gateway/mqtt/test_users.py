"""A gateway with users of its own files, tried with paho."""

from pathlib import Path

from broker.access.passwords.edit import set_password
from broker.access.passwords.hashes import ScryptCost
from tests.paho_client import V5, Paho
from tests.system import Gateway

CHEAP = ScryptCost(1, 1, 1)
ACL = """
[[rule]]
users = ["anna"]
read = ["garden/#"]
write = ["garden/#"]

[[rule]]
users = ["anna"]
deny = ["garden/secret"]
"""


def test_users_of_a_password_file_have_the_rights_of_the_access_list(tmp_path: Path) -> None:
    passwords, acl = tmp_path / "passwords", tmp_path / "acl.toml"
    set_password(passwords, "anna", "rose", CHEAP)
    acl.write_text(ACL)
    gateway = Gateway(
        tmp_path / "state",
        HECATE_GATEWAY_BROKER_ANONYMOUS="loopback",
        HECATE_GATEWAY_BROKER_ACCESS_PASSWORD_FILE=str(passwords),
        HECATE_GATEWAY_BROKER_ACCESS_ACL_FILE=str(acl),
    )
    with gateway.program:
        port = gateway.mqtt_port
        with Paho("person", V5) as person, Paho("anna", V5) as anna:
            person.connect("127.0.0.1", port)
            anna.client.username_pw_set("anna", "rose")
            anna.connect("127.0.0.1", port)
            assert not anna.subscribe("garden/#", 1).is_failure
            assert anna.subscribe("#", 1).is_failure
            for topic in ("garden/secret", "house/door", "garden/gate"):
                person.publish(topic, b"x", 1)
            assert anna.take().topic == "garden/gate"
            set_password(passwords, "anna", "tulip", CHEAP)
            assert anna.gone.get(timeout=10).is_failure
