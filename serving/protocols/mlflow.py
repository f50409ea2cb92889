"""MLflow's scoring protocol: what `/invocations` of `mlflow models serve` takes and gives, in JSON and in CSV."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Callable
from typing import Any

import orjson

from core.csvtext import MARK, header
from core.csvtext import rows as table_rows
from core.engines import Answers, Columns
from core.fields import UTF_8, Refused
from serving.body import CSV, JSON, Body, charset, content_type, parse_json
from serving.columns import SEEN, Schema, listed
from serving.errors import RequestError, bad
from serving.model import Model
from serving.query import Headers, Query, Reply, json_reply, plain
from serving.weight import csv_weight, json_weight

SPLIT = {"columns", "data", "index"}
WIDE = ("utf-16", "utf-32")
METHOD = "predict_method"
PREDICT = ("predict",)
ERROR_CODES = {400: "BAD_REQUEST", 404: "RESOURCE_DOES_NOT_EXIST", 500: "INTERNAL_ERROR", 503: "TEMPORARILY_UNAVAILABLE"}


def parse(model: Model, body: Body, headers: Headers) -> Query:
    """Understand one scoring request.

    Raises:
        RequestError: It does not fit the protocol or the model.
    """
    if content_type(headers, JSON, CSV) == CSV:
        return Query(_csv(body, model.schema, charset(headers, model.schema.reader.dialect.encoding)), PREDICT, _predictions)
    request = parse_json(body)
    if type(request) is dict and len(request) == 1:
        ((form, document),) = request.items()
        if form in FORMS:
            return Query(FORMS[form](document, model.schema), PREDICT, _predictions)
    return _general(model, request)


def weigh(model: Model, body: Body, headers: Headers) -> int:
    """Return the most bytes of memory that a body becomes."""
    return csv_weight(body, model.schema.reader.dialect) if content_type(headers, JSON, CSV) == CSV else json_weight(body)


def error(problem: RequestError) -> bytes:
    """Write an error as MLflow's clients read it."""
    return orjson.dumps({"error_code": ERROR_CODES.get(problem.status, "BAD_REQUEST"), "message": problem.message})


def instances(document: Any, schema: Schema) -> Columns:
    """Read rows, each a list in the order of training or an object."""
    if type(document) is list and document and type(document[0]) is list:
        return schema.from_rows(document, schema.names)
    return _records(document, schema)


def _general(model: Model, request: Any) -> Query:
    """Understand a request that holds more than rows, or nothing that can be understood."""
    forms = ", ".join(FORMS)
    if not isinstance(request, dict):
        raise bad(f"the body is {SEEN[type(request)]}, not an object: send one with {forms}")
    given = [form for form in request if form in FORMS]
    unknown = next((key for key in request if key not in FORMS and key not in ("params", "signature_name")), None)
    if len(given) != 1 or unknown is not None:
        raise bad(f"{unknown} is unknown: send one of {forms}" if unknown is not None else f"send exactly one of {forms}, not {len(given)}")
    method = _method(request.get("params"), model)
    columns = FORMS[given[0]](request[given[0]], model.schema)
    return Query(columns, (method,), lambda answers: json_reply({"predictions": plain(answers[method])}))


def _predictions(answers: Answers) -> Reply:
    return json_reply({"predictions": plain(answers["predict"])})


def _method(params: Any, model: Model) -> str:
    if params is not None and (not isinstance(params, dict) or params.keys() - {METHOD}):
        raise bad(f'params may hold {METHOD} alone: {{"{METHOD}": "{model.outputs[-1]}"}}')
    method = (params or {}).get(METHOD, "predict")
    if method not in model.outputs:
        raise bad(f"params.{METHOD} has to be one of {', '.join(model.outputs)}")
    return str(method)


def _split(document: Any, schema: Schema) -> Columns:
    if type(document) is not dict or document.keys() - SPLIT or "columns" not in document or "data" not in document:
        raise bad('dataframe_split has to be {"columns": [...], "data": [[...], ...]}')
    names, rows = document["columns"], document["data"]
    if type(rows) is not list or (names != schema.names and not (type(names) is list and all(isinstance(name, str) for name in names))):
        raise bad("dataframe_split: columns has to be a list of names and data a list of rows")
    return schema.from_rows(rows, names)


def _records(document: Any, schema: Schema) -> Columns:
    if type(document) is not list:
        raise bad(f"expected a list of rows, got {SEEN[type(document)]}")
    return schema.from_records(document)


def _inputs(document: Any, schema: Schema) -> Columns:
    if type(document) is not dict:
        return instances(document, schema)
    for name, values in document.items():
        if type(values) is not list:
            raise bad(f"column {name}: expected a list of values, got {SEEN[type(values)]}")
    return schema.from_columns(document)


def _csv(body: Body, schema: Schema, charset: str) -> Columns:
    """Read a table with a line of names, as training reads the files of its source."""
    dialect = schema.reader.dialect
    text = _text(body, charset, dialect.encoding)
    if not text:
        raise bad("the body is empty: send a line of column names and a line a row")
    try:
        names, delimiter, _, start = header(text, dialect)
        schema.check_names(names)
        _, *rows = table_rows(text[start:] if start else text, delimiter, dialect)
    except csv.Error as problem:
        raise bad(f"the body is not CSV in UTF-8: {problem}") from problem
    width = len(names)
    rows = [row for row in rows if row] if width > 1 else [row or [""] for row in rows]
    for number, row in enumerate(rows):
        if len(row) != width:
            if len(row) < width or any(row[width:]):
                raise bad(f"row {number}: {len(row)} values for {width} columns ({listed(names)})")
            del row[width:]  # nothing but delimiters
    columns: dict[str, Any] = dict(zip(names, zip(*rows, strict=True) if rows else ((),) * width, strict=True))
    for name, read in schema.parsers.items():
        if name in columns:
            try:
                columns[name] = read(columns[name])
            except Refused as problem:
                raise bad(f"row {problem.row}, column {name}: expected a finite number or nothing, got a string") from problem
    return schema.from_columns(columns)


def _text(body: Body, charset: str, encoding: str) -> str:
    """Decode a table: by the charset that its header names, else by UTF-8, else by the encoding of the source.

    ASCII in UTF-16 is UTF-8 with NULs, which no table has: then the encoding of the source comes first.
    """
    wide = not charset and b"\0" in body and codecs.lookup(encoding).name.startswith(WIDE)
    encodings = [charset] if charset and charset != UTF_8 else [encoding] if wide else list(dict.fromkeys((UTF_8, encoding)))
    for name in encodings:
        try:
            return body.decode(name).lstrip(MARK)
        except UnicodeDecodeError as error:
            problem = error
    raise bad(f"the body is not CSV in {' or '.join('UTF-8' if name == UTF_8 else name for name in encodings)}: {problem}") from problem


FORMS: dict[str, Callable[[Any, Schema], Columns]] = {
    "dataframe_split": _split,
    "dataframe_records": _records,
    "instances": instances,
    "inputs": _inputs,
}
