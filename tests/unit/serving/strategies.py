"""Requests that hypothesis makes up: nearly right, wrong, and broken."""

from __future__ import annotations

import random
import re
from typing import Any

import orjson
from hypothesis import strategies as st

from tests.unit.serving.bodies import DTYPES, dump, joined
from tests.unit.serving.wire import JSON, request

COLUMNS = ("alcohol", "proline", "hue", "region")
INFER, PREDICT, INVOKE = "/v2/models/wine/infer", "/v1/models/wine:predict", "/invocations"
TOKENS = [
    b"null",
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"-0",
    b"9" * 40,
    b'"',
    b"\\",
    b"\\ud800",
    b"[",
    b"]",
    b"{}",
    b",",
    b"\r\n",
    b"\0",
    b"\xff",
    b"true",
]

TEXTS = st.text(max_size=8)
NUMBERS = st.none() | st.floats(-1e38, 1e38) | st.floats(0, 1000) | st.integers(-(2**53), 2**53) | st.booleans()
LEAVES = NUMBERS | TEXTS | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**64 - 1)
ANY = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=8)
RARELY_ANY = st.integers(0, 29).flatmap(lambda dice: ANY if dice == 0 else NUMBERS)
CELLS = [RARELY_ANY, RARELY_ANY, RARELY_ANY, st.none() | TEXTS | TEXTS | TEXTS]
ROWS = st.lists(st.tuples(*CELLS).map(list), min_size=1, max_size=4)
RECORDS = ROWS.map(lambda rows: [dict(zip(COLUMNS, row, strict=True)) for row in rows])
PARAMS = st.none() | st.fixed_dictionaries({"predict_method": st.sampled_from(["predict", "predict_proba"]) | LEAVES}) | ANY

INVOCATIONS = st.one_of(
    st.fixed_dictionaries({"dataframe_records": RECORDS}, optional={"params": PARAMS}),
    st.fixed_dictionaries({"instances": ROWS | RECORDS}, optional={"params": PARAMS}),
    st.fixed_dictionaries({"inputs": ROWS | RECORDS | ANY}),
    ROWS.map(lambda rows: {"dataframe_split": {"columns": list(COLUMNS), "data": rows}}),
    st.fixed_dictionaries({"dataframe_split": st.fixed_dictionaries({"columns": ANY, "data": ANY})}),
    ANY,
)
INSTANCES = st.one_of(st.fixed_dictionaries({"instances": ROWS | RECORDS | ANY}), ANY)


@st.composite
def infer(draw: st.DrawFn) -> tuple[bytes, dict[str, str]]:
    """A request of the Open Inference Protocol, with some tensors in binary."""
    rows, inputs, parts = draw(st.integers(0, 4)), [], []
    for name in draw(st.permutations(COLUMNS)):
        kind = "BYTES" if name == "region" else draw(st.sampled_from(["FP64", "FP64", *DTYPES]))
        tensor: dict[str, Any] = {"name": name, "shape": draw(st.sampled_from([[rows], [rows, 1], [rows], [rows + 1]])), "datatype": kind}
        if draw(st.booleans()):
            part = dump(draw(st.lists(TEXTS, min_size=rows, max_size=rows)), kind) if name == "region" else bytes(rows * DTYPES[kind]().itemsize)
            parts.append(part + draw(st.sampled_from([b"", b"", b"", b"x"])))
            tensor["parameters"] = {"binary_data_size": len(part)}
        else:
            tensor["data"] = draw(st.lists(TEXTS if name == "region" else RARELY_ANY, min_size=rows, max_size=rows))
        inputs.append(tensor)
    more = draw(
        st.fixed_dictionaries({}, optional={"id": TEXTS | ANY, "outputs": OUTPUTS, "parameters": st.just({"binary_data_output": True}) | ANY})
    )
    content, headers = joined({"inputs": inputs, **more}, *parts)
    return content, headers if parts else JSON


OUTPUTS = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from(["predict", "predict_proba", "score"])},
        optional={"parameters": st.fixed_dictionaries({"binary_data": st.booleans() | LEAVES}) | ANY},
    ),
    max_size=2,
)
MORE = st.fixed_dictionaries({}, optional={"id": TEXTS | ANY, "outputs": OUTPUTS, "parameters": st.just({"binary_data_output": True}) | ANY})
TABLES = st.lists(st.lists(TEXTS | st.floats().map(repr), min_size=4, max_size=4), max_size=4).map(
    lambda rows: "\n".join([",".join(COLUMNS), *(",".join(row) for row in rows)]).encode()
)
KINDS = st.sampled_from(["application/json", "text/csv", "application/octet-stream", "text/csv; charset=utf-8", "application/json;charset=latin-1"])
HEADERS = st.fixed_dictionaries(
    {"content-type": KINDS | st.text("abc/;= \xe9", max_size=20)},
    optional={
        "inference-header-content-length": st.integers(-2, 300).map(str) | st.text("0123456789", max_size=30),
        "content-encoding": st.sampled_from(["identity", "gzip", ""]),
        "x-request-id": st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=20),
        "traceparent": st.text("0123456789abcdef-", max_size=60),
        "accept": st.just("*/*"),
    },
)
PATHS = st.sampled_from([INFER, INVOKE, PREDICT, "/wine" + INFER, "/v2/models/wine/versions/3/infer", "/v2/models/%ff/infer", "/v2", "/", "/%00"])


def _made(path: str, document: Any) -> bytes:
    return request(path, orjson.dumps(document, option=orjson.OPT_NON_STR_KEYS))


REQUESTS = st.one_of(
    INVOCATIONS.map(lambda document: _made(INVOKE, document)),
    INSTANCES.map(lambda document: _made(PREDICT, document)),
    infer().map(lambda made: request(INFER, *made)),
    TABLES.map(lambda table: request(INVOKE, table, {"content-type": "text/csv"})),
    st.builds(lambda path, body, headers: request(path, body, headers), PATHS, st.binary(max_size=200) | TABLES, HEADERS),
    st.builds(lambda path, method: request(path, None, {}, method), PATHS, st.sampled_from(["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])),
)


def with_another_body(chance: random.Random, made: bytes) -> bytes:
    """Change a request's body, and its length accordingly; often only a number in it."""
    head, _, body = made.partition(b"\r\n\r\n")
    changed = re.sub(rb"[1-9]", lambda _: b"%d" % chance.randrange(1, 10), body) if chance.random() < 0.4 else broken(chance, body)
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length:")]
    return b"\r\n".join([*lines, b"content-length: %d" % len(changed), b"", changed])


def broken(chance: random.Random, data: bytes) -> bytes:
    """Change bytes: one, a few, or a part that goes, comes twice or is replaced."""
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        start = chance.randrange(len(data) + 1)
        end = min(len(data), start + chance.choice((0, 1, 1, 4, 30)))
        part = chance.choice((b"", bytes([chance.randrange(256)]), chance.choice(TOKENS), data[start:end] * 2))
        data = data[:start] + part + data[end:]
    return data
