"""Requests that schemathesis makes of the server's own OpenAPI description: what comes back is what the description promises."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from tests.unit.serving.servers import Running

EXAMPLES = {"": 25, "/wine": 5}  # of an operation; below the name they are the same requests again, at another address
# A description cannot say which numbers are too large for a 64-bit float, or for scikit-learn, nor what is taken in other forms, too.
REFUSED = [positive_data_acceptance, negative_data_rejection]


@pytest.mark.slow
@pytest.mark.parametrize("mode", list(GenerationMode), ids=["right", "wrong"])
@pytest.mark.parametrize("below", ["", "/wine"], ids=["plain", "below the name"])
def test_the_server_keeps_what_its_description_promises(wine_server: Running, below: str, mode: GenerationMode) -> None:
    schema = schemathesis.openapi.from_url(f"{wine_server.url}{below}/openapi.json")
    operations: list[Any] = [result.ok() for result in schema.get_all_operations()]  # type: ignore[union-attr]

    for operation in operations:
        validate(operation, mode, EXAMPLES[below])

    assert len(operations) > 10


def validate(operation: Any, mode: GenerationMode, examples: int) -> None:
    """Make requests of one operation and check what comes back."""

    @settings(max_examples=examples, deadline=None, database=None, derandomize=True, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def run(case: Any) -> None:
        case.call_and_validate(excluded_checks=REFUSED)

    if mode is GenerationMode.POSITIVE or operation.body:
        run()
