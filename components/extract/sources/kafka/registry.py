"""The Schema Registry: what the number in front of a value means."""

import os
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import requests
from requests.adapters import HTTPAdapter
from urllib3 import Retry

from components.extract.sources.kafka.decode import Unreadable
from core.errors import UserError

FRAME = 5  # bytes: a zero, and the schema's id in four
NO_SUCH_SCHEMA = 40403  # the registry's own code


class Registry:
    """The registry that SCHEMA_REGISTRY_URL names."""

    def __init__(self, what: str, kind: str) -> None:
        self.what, self.kind = what, kind
        self.url = os.environ["SCHEMA_REGISTRY_URL"].rstrip("/")
        self.session = requests.Session()
        user = os.environ.get("SCHEMA_REGISTRY_USER")
        if user:
            self.session.auth = (user, os.environ.get("SCHEMA_REGISTRY_PASSWORD", ""))
        retry = Retry(total=3, backoff_factor=0.3, status_forcelist=(500, 502, 503, 504), raise_on_status=False)
        for scheme in ("http://", "https://"):
            self.session.mount(scheme, HTTPAdapter(max_retries=retry))

    def schema(self, number: int) -> str | None:
        """Return a schema as text, None if there is none of this id.

        Raises:
            UserError: The registry cannot be asked, or it is a schema of another kind.
        """
        form = {"format": "serialized"} if self.kind == "PROTOBUF" else {}
        try:
            answer = self.session.get(f"{self.url}/schemas/ids/{number}", params=form, timeout=(5, 30))
        except requests.RequestException as error:
            raise UserError(f"{self.what}: the schema registry does not answer: start it or correct SCHEMA_REGISTRY_URL") from error
        if answer.status_code in (401, 403):
            raise UserError(f"{self.what}: the schema registry refuses: correct SCHEMA_REGISTRY_USER and SCHEMA_REGISTRY_PASSWORD")
        return self._schema(number, answer)

    def _schema(self, number: int, answer: requests.Response) -> str | None:
        try:
            found: dict[str, Any] = answer.json()
        except requests.exceptions.JSONDecodeError as error:
            raise UserError(f"{self.what}: SCHEMA_REGISTRY_URL is not a schema registry's (status {answer.status_code}): correct it") from error
        if answer.status_code == 404 and found.get("error_code") == NO_SUCH_SCHEMA:
            return None
        if not answer.ok or "schema" not in found:
            raise UserError(
                f"{self.what}: the schema registry fails with status {answer.status_code}: look into its log, or correct SCHEMA_REGISTRY_URL"
            )
        return self._own(number, found)

    def _own(self, number: int, found: dict[str, Any]) -> str:
        kind = found.get("schemaType", "AVRO")
        if kind != self.kind:
            raise UserError(f"{self.what}: schema {number} of the registry is {kind}: correct `format`")
        if found.get("references"):
            raise UserError(f"{self.what}: schema {number} of the registry refers to others: put all into one file, and name it under `definition`")
        return str(found["schema"])


def is_there() -> bool:
    """Tell whether the environment names a registry: then each value begins with its schema's id."""
    return bool(os.environ.get("SCHEMA_REGISTRY_URL"))


def split(value: bytes) -> tuple[int, bytes]:
    """Split a value into its schema's id and the rest.

    Raises:
        Unreadable: It has no id.
    """
    if len(value) < FRAME or value[0]:
        raise Unreadable("it does not begin with a zero and the id of a schema")
    return int.from_bytes(value[1:FRAME]), value[FRAME:]


def numbers(values: pa.Array) -> set[int]:
    """Return the ids of the schemas of many values."""
    heads = pc.unique(pc.binary_slice(values, 0, FRAME)).to_pylist()
    return {int.from_bytes(head[1:]) for head in heads if head and len(head) == FRAME and not head[0]}
