"""mosquitto_pub, mosquitto_sub and mosquitto_rr."""

import pytest

from tests.peers import require
from tests.programs import Program, run

QOS_1 = ["-q", "1"]
BY_LINE = ["stdbuf", "-oL"]  # else it tells that it has subscribed only when it ends

versions = pytest.mark.parametrize("version", ["mqttv31", "mqttv311", "mqttv5"])


def to(port: int, version: str, client_id: str = "") -> list[str]:
    named = ["-i", client_id] if client_id else []
    return ["-h", "127.0.0.1", "-p", str(port), "-V", version, *named]


@versions
def test_wildcards_and_qos(port: int, root: str, version: str) -> None:
    sub = [require("mosquitto_sub"), *to(port, version), *QOS_1, "-t", f"{root}/+/x", "-d"]
    with Program([*BY_LINE, *sub, "-C", "2", "-F", "got %t %q %r %p"]) as subscriber:
        subscriber.wait_for("Subscribed")
        pub = [require("mosquitto_pub"), *to(port, version)]
        run([*pub, *QOS_1, "-t", f"{root}/a/x", "-m", "one"])
        run([*pub, *QOS_1, "-t", f"{root}/a/y", "-m", "not"])
        run([*pub, "-t", f"{root}/b/x", "-m", "two"])
        subscriber.wait_for(f"got {root}/a/x 1 0 one")
        subscriber.wait_for(f"got {root}/b/x 0 0 two")
        assert subscriber.wait() == 0


@versions
def test_retained(port: int, root: str, version: str) -> None:
    pub = [require("mosquitto_pub"), *to(port, version), *QOS_1, "-r", "-t", f"{root}/kept"]
    run([*pub, "-m", "text"])
    sub = [require("mosquitto_sub"), *to(port, version), "-t", f"{root}/#", "-W", "20"]
    assert run([*sub, "-C", "1", "-F", "%t %r %p"]) == f"{root}/kept 1 text\n"
    run([*pub, "-n"])
    run([*pub[:-2], "-t", f"{root}/other", "-m", "left"])
    assert run([*sub, "-C", "1", "-F", "%t"]) == f"{root}/other\n"


@versions
def test_will(port: int, root: str, version: str) -> None:
    watch = [require("mosquitto_sub"), *to(port, version), *QOS_1, "-t", f"{root}/will", "-d"]
    will = ["--will-topic", f"{root}/will", "--will-payload", "gone", "--will-qos", "1"]
    dying = [require("mosquitto_sub"), *to(port, version), "-t", f"{root}/none", "-d", *will]
    with (
        Program([*BY_LINE, *watch, "-F", "got %p %q"]) as watcher,
        Program([*BY_LINE, *dying]) as client,
    ):
        watcher.wait_for("Subscribed")
        client.wait_for("Subscribed")
        client.kill()
        watcher.wait_for("got gone 1")


@versions
def test_stored_session(port: int, root: str, version: str) -> None:
    stored = ["-c"] if version != "mqttv5" else ["-c", "-x", "60"]
    sub = [require("mosquitto_sub"), *to(port, version, f"{root}-s"), *stored, *QOS_1]
    sub += ["-t", f"{root}/#"]
    run([*sub, "-E"])
    pub = [require("mosquitto_pub"), *to(port, version), *QOS_1, "-t", f"{root}/a"]
    for number in range(3):
        run([*pub, "-m", str(number)])
    assert run([*sub, "-C", "3", "-W", "20"]).split() == ["0", "1", "2"]


def test_request_and_response(port: int, root: str) -> None:
    sub = [require("mosquitto_sub"), *to(port, "mqttv5"), *QOS_1, "-t", f"{root}/ask", "-d"]
    with Program([*BY_LINE, *sub, "-F", "asked %R %D %p"]) as answering:
        answering.wait_for("Subscribed")
        rr = [require("mosquitto_rr"), *to(port, "mqttv5"), *QOS_1, "-t", f"{root}/ask"]
        rr += ["-e", f"{root}/reply", "-m", "question", "-W", "20"]
        with Program([*BY_LINE, *rr, "-D", "publish", "correlation-data", "42"]) as asking:
            reply = answering.wait_for(r"asked (\S+) (\S+) question")
            assert (reply[1], reply[2]) == (f"{root}/reply", "42")
            pub = [require("mosquitto_pub"), *to(port, "mqttv5"), *QOS_1, "-t", reply[1]]
            run([*pub, "-m", "answer", "-D", "publish", "correlation-data", reply[2]])
            asking.wait_for("^answer$")
            assert asking.wait() == 0
