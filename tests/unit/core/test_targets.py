"""Targets: short forms, and what cannot be meant."""

from __future__ import annotations

from typing import Any

import pytest

from core.configcheck import check
from core.targets import KafkaTarget, Kind, PostgresqlTarget, S3Target
from tests.unit import small


@pytest.mark.parametrize(
    ("short", "meant"),
    [
        ("s3://data/a/", S3Target(kind="s3", uri="s3://data/a/")),
        ("postgresql:///scores.flights", PostgresqlTarget(kind="postgresql", table="scores.flights")),
        ("kafka:///flights", KafkaTarget(kind="kafka", topic="flights")),
    ],
)
def test_an_address_is_short_for_a_mapping(short: str, meant: Kind) -> None:
    usecase = small.usecase(load=[{"what": "table", "to": short}])

    assert usecase.load[0].to == meant
    assert usecase.load[0].to.address == short


@pytest.mark.parametrize(
    ("loads", "sentence"),
    [
        pytest.param([{"what": "table", "to": "s3://data/a"}], "ends with a slash: write s3://data/a/", id="no slash"),
        pytest.param([{"what": "table", "to": "a.parquet"}], "no known target: write s3://bucket/prefix/", id="a path"),
        pytest.param([{"what": "table", "to": "postgresql://me:secret@host/t"}], "no known target: write s3://bucket/prefix/", id="a password"),
        pytest.param(
            [{"what": "table", "to": {"kind": "postgresql", "table": "t", "mode": "merge"}}],
            "mode: merge needs a key, and no other mode has one",
            id="merge without key",
        ),
        pytest.param(
            [{"what": "table", "to": {"kind": "postgresql", "table": "t", "key": ["a"]}}],
            "mode: merge needs a key, and no other mode has one",
            id="key without merge",
        ),
        pytest.param(
            [{"what": "table", "to": {"kind": "kafka", "topic": "t", "format": "avro"}}],
            "format: avro needs a definition, json has none",
            id="avro without schema",
        ),
        pytest.param([{"what": "report", "to": "kafka:///t"}], "a report is pages: write them to s3://bucket/prefix/", id="pages to a topic"),
        pytest.param(
            [{"what": "table", "to": "kafka:///t"}, {"what": "predictions", "to": "kafka:///t"}],
            "kafka:///t is named twice: write each to a target of its own",
            id="twice",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(loads: list[dict[str, Any]], sentence: str) -> None:
    usecase, problems = check(small.document(load=loads))

    assert usecase is None
    assert sentence in problems[0].message
    assert "secret" not in str(problems)
