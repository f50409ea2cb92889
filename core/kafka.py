"""The Kafka client: what the environment says of the brokers, and what it means when they refuse or do not answer."""

import logging
import os
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from core.errors import UserError

PROPERTIES = {
    "KAFKA_BOOTSTRAP_SERVERS": "bootstrap.servers",
    "KAFKA_SECURITY_PROTOCOL": "security.protocol",
    "KAFKA_SASL_MECHANISM": "sasl.mechanism",
    "KAFKA_SASL_USERNAME": "sasl.username",
    "KAFKA_SASL_PASSWORD": "sasl.password",
    "KAFKA_SSL_CA_LOCATION": "ssl.ca.location",
}
SILENT = logging.getLogger("librdkafka")  # its lines say nothing that our sentences do not
SILENT.addHandler(logging.NullHandler())
SILENT.propagate = False

PASSWORD = "the brokers refuse the name or password: correct KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD and KAFKA_SASL_MECHANISM"  # noqa: S105
RIGHT = "the user of KAFKA_SASL_USERNAME may not use it: have it allowed"
TOPIC = "there is no such topic: create it or correct its name"
TLS = "no secure connection to the brokers: correct KAFKA_SECURITY_PROTOCOL and KAFKA_SSL_CA_LOCATION"
CURES = {
    KafkaError._AUTHENTICATION: PASSWORD,
    KafkaError.SASL_AUTHENTICATION_FAILED: PASSWORD,
    KafkaError._SSL: TLS,
    KafkaError.TOPIC_AUTHORIZATION_FAILED: RIGHT,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: RIGHT,
    KafkaError.UNKNOWN_TOPIC_OR_PART: TOPIC,
    KafkaError._UNKNOWN_TOPIC: TOPIC,
    KafkaError._UNKNOWN_PARTITION: TOPIC,
}
UNREACHABLE = {KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE, KafkaError._WAIT_COORD}


class Faults:
    """A client's `error_cb`. A call that gives up only says that it waited: the connection's own fault says why."""

    def __init__(self) -> None:
        self.last: KafkaError | None = None

    def __call__(self, error: KafkaError) -> None:
        """Keep it, the first or the most telling one."""
        if self.last is None or error.code() in CURES:
            self.last = error

    @property
    def refused(self) -> bool:
        """Whether the brokers say no, and would again."""
        return self.last is not None and self.last.code() in CURES


def settings(timeout: int) -> dict[str, Any]:
    """Return what every client needs, as librdkafka calls it.

    Args:
        timeout: Seconds that the brokers may be silent.

    Raises:
        UserError: The environment names no brokers.
    """
    if not os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        raise UserError("Kafka is not configured: set KAFKA_BOOTSTRAP_SERVERS to the brokers, such as kafka:9092")
    named = {property_: os.environ[variable] for variable, property_ in PROPERTIES.items() if os.environ.get(variable)}
    waits = {"socket.timeout.ms": min(timeout, 60) * 1000, "reconnect.backoff.max.ms": 1000}
    return named | waits | {"logger": SILENT, "error_cb": Faults()}


def refusal(what: str, error: KafkaError | KafkaException, faults: Faults) -> UserError:
    """Return a failure as one sentence about `what`.

    Args:
        what: A source or topic.
        error: What the call said.
        faults: The client's `error_cb`, after the client was polled once more.
    """
    found: KafkaError = error.args[0] if isinstance(error, KafkaException) else error
    if found.code() in UNREACHABLE and faults.refused and faults.last:
        found = faults.last
    if found.code() in UNREACHABLE:
        servers = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
        return UserError(f"{what}: the brokers at {servers} do not answer: start them or correct KAFKA_BOOTSTRAP_SERVERS and KAFKA_SECURITY_PROTOCOL")
    if found.code() == KafkaError._INVALID_ARG:  # of a property, when the client is made
        return UserError(f"{what}: {found.str()}: correct the variables KAFKA_*")
    return UserError(f"{what}: {CURES.get(found.code()) or found.str()}")
