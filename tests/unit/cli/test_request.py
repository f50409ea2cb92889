"""The request that `mlops run` prints: short, whatever the model's inputs are."""

import json
import shlex
from pathlib import Path

import pytest

from cli.run import request


@pytest.mark.parametrize(("inputs", "in_file"), [pytest.param(21, False, id="few inputs"), pytest.param(1000, True, id="a thousand inputs")])
def test_a_request_of_many_inputs_is_sent_from_a_file(tmp_path: Path, inputs: int, in_file: bool) -> None:
    folder = tmp_path / "it's a run"
    folder.mkdir()
    example = {f"it's {place}": 1.5 for place in range(inputs)}

    (body,) = shlex.split(request(example, folder))

    assert body.startswith("@") is in_file
    assert json.loads(Path(body[1:]).read_text() if in_file else body) == {"dataframe_records": [example]}
