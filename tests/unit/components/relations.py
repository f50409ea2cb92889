"""What the tests of tables in PostgreSQL share: a read of one, and what it is refused with."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.extract.delivery import Delivery, Request
from components.extract.sources import fetch
from core.contract import Contract
from core.errors import UserError
from core.sources import PostgresqlSource

CONTRACT = Contract.model_validate({"columns": {"x": {"type": "integer"}}})


def source_of(**keys: Any) -> PostgresqlSource:
    return PostgresqlSource.model_validate({"kind": "postgresql"} | keys)


def request_in(folder: Path, watermark: Any = None) -> Request:
    place = folder / uuid.uuid4().hex
    place.mkdir()
    return Request("flights", "rows", CONTRACT, place, "256MB", watermark)


def delivered(folder: Path, watermark: Any = None, **keys: Any) -> Delivery:
    return fetch(source_of(**keys), request_in(folder, watermark))


def table_of(delivery: Delivery) -> pa.Table:
    return pa.concat_tables([pq.read_table(file) for file in delivery.files])


def read(folder: Path, **keys: Any) -> pa.Table:
    return table_of(delivered(folder, **keys))


def refusal(folder: Path, **keys: Any) -> str:
    with pytest.raises(UserError) as refused:
        delivered(folder, **keys)
    sentence = str(refused.value)
    assert "\n" not in sentence and str(folder) not in sentence and os.environ["PGPASSWORD"] not in sentence
    return sentence


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)
