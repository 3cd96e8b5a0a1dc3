"""A real Kafka broker, of one node, that wants from jobs what a transport says it gives.

It listens where the transport looks for it and with its protocol, so that nothing is changed for the test. What the tests
themselves do goes through a listener of its own.
"""

import os
import pathlib
import shutil
import subprocess
import time

import confluent_kafka
from confluent_kafka import admin
from cryptography.hazmat.primitives import serialization

import sandbox

HOME = sandbox.SCRATCH / "kafka"
OURS = "127.0.0.1:19092"
# What starting takes is a small JVM's time to load classes, not to compile them.
JAVA = ["java", "-Xmx256m", "-Xshare:auto", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
LOGGING = """<Configuration><Appenders><Console name="out"><PatternLayout pattern="%p %m%n%throwable{short.message}%n"/></Console>
</Appenders><Loggers><Root level="warn"><AppenderRef ref="out"/></Root></Loggers></Configuration>"""


class Failed(Exception):
    """The broker did not do what it is there for."""


class Broker:
    def __init__(self, jars, authority, config, users):
        """`config` is the producer's; of `users`, a dictionary, those with PLAIN must be there from the start."""
        self._users = dict(users)
        self._servers = [server.rpartition(":") for server in config["bootstrap.servers"].split(",")]
        self._topics = {}
        self._java = [*JAVA, "-cp", f"{jars}/*", f"-Dlog4j2.configurationFile={HOME}/log4j2.xml"]
        shutil.rmtree(HOME, ignore_errors=True)
        HOME.mkdir()
        (HOME / "log4j2.xml").write_text(LOGGING)
        settings = self._settings(authority, config)
        lines = [f"{key}={value}" for key, value in settings.items()]
        (HOME / "server.properties").write_text("\n".join(lines).replace("\\", "\\\\") + "\n")
        cluster = "conformance-kafka-0000"  # 16 bytes in base 64, as a cluster's name must be
        self._wait(self._run("kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(HOME / "server.properties")))
        self._process = self._run("kafka.Kafka", str(HOME / "server.properties"))
        try:
            self._admin = admin.AdminClient({"bootstrap.servers": OURS, "log_level": 0})
            if not sandbox.wait_until(self._ready, 60, self._process):
                raise Failed(f"the broker did not start: {self._said()}")
        except BaseException:
            self.close()
            raise

    def _settings(self, authority, config):
        protocol, mechanism = config["security.protocol"], config.get("sasl.mechanism")
        names = {}  # of the listener for each port
        for _, _, port in self._servers:
            names[port] = f"JOBS{port}"
        listeners = {"OURS": OURS, "CONTROLLER": "127.0.0.1:19093"}
        listeners |= {name: f"{sandbox.HERE}:{port}" for port, name in names.items()}
        advertised = {"OURS": OURS}
        advertised |= {names[port]: f"{host}:{port}" for host, _, port in self._servers}
        protocols = {"OURS": "PLAINTEXT", "CONTROLLER": "PLAINTEXT", **dict.fromkeys(names.values(), protocol)}
        settings = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": "1@127.0.0.1:19093",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "OURS",
            "listeners": _pairs(listeners, "://"),
            "advertised.listeners": _pairs(advertised, "://"),
            "listener.security.protocol.map": _pairs(protocols, ":"),
            "log.dirs": HOME / "data",
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 1,
            "group.initial.rebalance.delay.ms": 0,
        }
        if protocol.endswith("SSL"):
            chain, key = authority.certificate(*{host for host, _, _ in self._servers})
            settings |= {
                "ssl.keystore.type": "PEM",
                "ssl.keystore.certificate.chain": _one_line(chain),
                "ssl.keystore.key": _one_line(_pkcs8(key)),
                "ssl.truststore.type": "PEM",
                "ssl.truststore.certificates": _one_line(authority.pem),
            }
            if "ssl.certificate.location" in config:
                settings |= {f"listener.name.{name.lower()}.ssl.client.auth": "required" for name in names.values()}
        if protocol.startswith("SASL"):
            settings["sasl.enabled.mechanisms"] = mechanism
            login = f"org.apache.kafka.common.security.{'plain.Plain' if mechanism == 'PLAIN' else 'scram.Scram'}LoginModule required"
            if mechanism == "PLAIN":
                login += "".join(f' "user_{user}"="{password}"' for user, password in self._users.items())
            for name in names.values():
                settings[f"listener.name.{name.lower()}.{mechanism.lower()}.sasl.jaas.config"] = f"{login};"
        return settings

    def knows(self, config):
        """Whether the broker knows the user of this configuration by the password in it, now if not before."""
        mechanism, user, password = (config.get(f"sasl.{name}") for name in ("mechanism", "username", "password"))
        if (mechanism or "").startswith("SCRAM-"):
            kind = admin.ScramMechanism[mechanism.replace("-", "_")]
            credential = admin.ScramCredentialInfo(kind, iterations=4096)
            change = admin.UserScramCredentialUpsertion(user, credential, password.encode())
            for done in self._admin.alter_user_scram_credentials([change]).values():
                done.result(30)
            return True
        return mechanism is None or self._users.get(user) == password

    def messages(self, topic):
        """What came to a topic since the last call, as `emit_lineage.py` writes down what a producer is given."""
        consumer = confluent_kafka.Consumer({"bootstrap.servers": OURS, "group.id": "conformance", "enable.auto.commit": False})
        found = []
        try:
            for partition in consumer.list_topics(topic, timeout=30).topics[topic].partitions:
                place = confluent_kafka.TopicPartition(topic, partition)
                _, end = consumer.get_watermark_offsets(place, timeout=30)
                place.offset = self._topics.get((topic, partition), 0)
                consumer.assign([place])
                until = time.monotonic() + 30
                for _ in range(place.offset, end):
                    message = consumer.poll(until - time.monotonic())
                    if message is None or message.error():
                        raise Failed(f"topic `{topic}` cannot be read: {message and message.error()}")
                    key = message.key()
                    found.append({"topic": topic, "key": key and key.decode(), "value": message.value().decode()})
                self._topics[topic, partition] = end
        finally:
            consumer.close()
        return found

    def refuses(self, config):
        """Whether a client with this configuration gets nothing but errors."""
        errors = []
        client = confluent_kafka.Producer({**config, "error_cb": errors.append, "log_level": 0})
        return sandbox.wait_until(lambda: client.poll(0.1) or errors, 5)

    def close(self):
        self._process.kill()
        self._process.wait()

    def _ready(self):
        try:
            return bool(self._admin.list_topics(timeout=1).brokers)
        except confluent_kafka.KafkaException:
            return False

    def _run(self, *command):
        environment = {"PATH": os.environ["PATH"]}
        with open(HOME / "broker.log", "w") as log:
            return subprocess.Popen([*self._java, *command], cwd=HOME, env=environment, stdout=log, stderr=log)

    def _wait(self, process):
        if process.wait(timeout=60):
            raise Failed(f"no storage for the broker: {self._said()}")

    def _said(self):
        return " ".join(pathlib.Path(HOME, "broker.log").read_text().split())[-400:]


def _pairs(settings, between):
    return ",".join(f"{name}{between}{value}" for name, value in settings.items())


def _one_line(pem):
    # A broker takes any blank between the lines of a PEM block, and a properties file ends at a newline.
    return pem.decode().strip().replace("\n", " ")


def _pkcs8(key):
    """The only form of a key that a broker reads."""
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return serialization.load_pem_private_key(key, None).private_bytes(serialization.Encoding.PEM, *form)
