"""What of a topic is read: from which offset to which, of each partition, decided once before the first message is read."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from confluent_kafka import OFFSET_END, Consumer, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient

from components.extract.delivery import Request
from core.errors import UserError
from core.kafka import settings
from core.sources import KafkaSource


@dataclass(frozen=True)
class Span:
    """The offsets of one partition that are read."""

    partition: int
    start: int
    end: int  # exclusive


@dataclass(frozen=True)
class Place:
    """Which cluster and topic it is, however they are called: a topic that was made anew has another id."""

    cluster: str
    topic: str


def place(consumer: Consumer, source: KafkaSource) -> Place:
    """Return what the cluster and the topic are.

    Raises:
        KafkaException: The brokers do not say.
    """
    cluster = consumer.list_topics(source.topic, timeout=source.timeout).cluster_id
    admin = AdminClient(settings(source.timeout))  # it must outlive its answer
    (described,) = admin.describe_topics(TopicCollection([source.topic]), request_timeout=source.timeout).values()
    return Place(str(cluster), str(described.result().topic_id))


def spans(consumer: Consumer, source: KafkaSource, request: Request, found: Place) -> list[Span]:
    """Resolve `start`, `end` and the watermark into the offsets of each partition.

    Raises:
        UserError: Some of the messages that are asked for are not there.
        KafkaException: The brokers do not say.
    """
    bounds = {number: _bounds(consumer, source, number) for number in _partitions(consumer, source)}
    starts = _named(consumer, source, "start", bounds) | _left(source, request, found, bounds)
    ends = _named(consumer, source, "end", bounds)
    spans = [Span(number, starts[number], ends[number]) for number in sorted(bounds)]
    for span in spans:
        _check(source, span, *bounds[span.partition])
    return [Span(span.partition, span.start, max(span.start, span.end)) for span in spans]


def watermark(spans: list[Span], found: Place) -> dict[str, Any]:
    """Return how far was read, as JSON: the next run begins there."""
    return {"cluster": found.cluster, "topic": found.topic, "offsets": {str(span.partition): span.end for span in spans}}


def _partitions(consumer: Consumer, source: KafkaSource) -> list[int]:
    topic = consumer.list_topics(source.topic, timeout=source.timeout).topics[source.topic]
    if topic.error:
        raise KafkaException(topic.error)
    return sorted(topic.partitions)


def _bounds(consumer: Consumer, source: KafkaSource, partition: int) -> tuple[int, int]:
    low, high = consumer.get_watermark_offsets(TopicPartition(source.topic, partition), timeout=source.timeout)
    return int(low), int(high)


def _named(consumer: Consumer, source: KafkaSource, point: str, bounds: dict[int, tuple[int, int]]) -> dict[int, int]:
    """Return the offsets that `start` or `end` names."""
    said = getattr(source, point)
    if isinstance(said, dict):
        if said.keys() != bounds.keys():
            listed = ", ".join(map(str, sorted(bounds)))
            raise UserError(f"{source.address}: {point} must name an offset for each of the partitions {listed}, and for no other: correct it")
        return dict(said)
    if said in ("earliest", "latest"):
        return {partition: pair[said == "latest"] for partition, pair in bounds.items()}
    asked = [TopicPartition(source.topic, partition, round(datetime.fromisoformat(said).timestamp() * 1000)) for partition in sorted(bounds)]
    answered = consumer.offsets_for_times(asked, timeout=source.timeout)
    for each in answered:
        if each.error:
            raise KafkaException(each.error)
    return {each.partition: bounds[each.partition][1] if each.offset == OFFSET_END else each.offset for each in answered}


def _left(source: KafkaSource, request: Request, found: Place, bounds: dict[int, tuple[int, int]]) -> dict[int, int]:
    """Return where the last run that succeeded ended; a partition that is new since then is not among them."""
    if not source.incremental or request.watermark is None:
        return {}
    left = request.watermark
    if (left["cluster"], left["topic"]) != (found.cluster, found.topic):
        what = "the topic was made anew" if left["cluster"] == found.cluster else "it is another cluster's"
        raise UserError(f"{source.address}: {what} since the last run, whose offsets say nothing here: run once with incremental: false")
    return {int(partition): offset for partition, offset in left["offsets"].items() if int(partition) in bounds}


def _check(source: KafkaSource, span: Span, low: int, high: int) -> None:
    """Refuse what is no longer or not yet there: a table with less than was asked for looks whole."""
    where = f"{source.address}, partition {span.partition}"
    if span.start < low and span.start < span.end:
        cure = "run once with incremental: false" if source.incremental else "choose a later start, or earliest"
        raise UserError(f"{where}: the offsets {span.start} to {low - 1} are no longer there, the topic's retention has deleted them: {cure}")
    if max(span.start, span.end) > high:
        late = max(span.start, span.end)
        raise UserError(f"{where} ends at offset {high}, before offset {late}: correct start and end, or wait for the messages")
    if span.start > span.end and not source.incremental:
        raise UserError(f"{where}: start {span.start} is after end {span.end}: correct them")
