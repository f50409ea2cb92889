"""Which requests the engine gets together, turn by turn of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pytest

from core.engines import Answers, Columns
from serving.batching import Batcher

ROWS = 8


class Echo:
    """An engine that answers each row with itself, and remembers what it was asked together."""

    name, quick_rows = "echo", ROWS

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def table(self, columns: Columns) -> Any:
        return columns

    def answer(self, tables: Sequence[Any], outputs: Collection[str]) -> Answers:
        self.batches.append([row for table in tables for row in table])
        return {"predict": np.array(self.batches[-1])}


def asked(*turns: Sequence[Sequence[int]]) -> list[list[int]]:
    """Ask in each turn for some requests' rows; return what the engine was given together."""
    engine = Echo()

    async def ask() -> None:
        batcher, answers = Batcher(engine, lambda *_: None), []
        for requests in turns:
            answers += [(rows, asyncio.create_task(batcher.answer(list(rows), len(rows), ("predict",)))) for rows in requests]
            await asyncio.sleep(0)
        for rows, answer in answers:
            assert (await answer)["predict"].tolist() == list(rows)
        assert (batcher.rows, batcher.requests) == (0, 0)

    asyncio.run(ask())
    return engine.batches


def test_one_request_does_not_wait_for_others() -> None:
    assert asked([[1]], [[2]], []) == [[1], [2]]


def test_requests_of_one_turn_are_answered_together() -> None:
    assert asked([[1], [2, 3], [4]]) == [[1, 2, 3, 4]]


def test_where_several_came_those_of_the_next_turn_are_waited_for() -> None:
    assert asked([[1], [2]], [[3]], [[4]], [], [], [[5]]) == [[1, 2, 3, 4], [5]]


def test_an_endless_stream_is_waited_for_only_until_there_is_enough_to_do() -> None:
    batches = asked(*([[number], [-number]] for number in range(1, 101)))

    assert len(batches) > 10
    assert max(map(len, batches)) <= 2 * ROWS


@pytest.mark.parametrize("rows", [ROWS, ROWS + 1])
def test_many_rows_are_answered_in_the_same_way(rows: int) -> None:
    assert asked([range(rows)]) == [list(range(rows))]
