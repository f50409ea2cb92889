"""Where data come from: one model a kind of source.

A source says what to read. Where its server is and who may read there comes from the environment, never from here.
"""

import hashlib
import os
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from core.csvoptions import DEFAULT, Csv
from core.errors import QUERY, shown
from core.frozen import Bytes, Frozen, Int, pattern

ENVIRONMENT = (  # by which servers are found and who may read there; what libpq, requests and the Schema Registry's clients call them
    *("PGHOST", "PGPORT", "PGDATABASE", "PGUSER", "PGPASSWORD", "PGSSLMODE", "PGSSLROOTCERT", "PGSERVICEFILE"),
    *(
        "KAFKA_BOOTSTRAP_SERVERS",
        "KAFKA_SECURITY_PROTOCOL",
        "KAFKA_SASL_MECHANISM",
        "KAFKA_SASL_USERNAME",
        "KAFKA_SASL_PASSWORD",
        "KAFKA_SSL_CA_LOCATION",
    ),
    *("SCHEMA_REGISTRY_URL", "SCHEMA_REGISTRY_USER", "SCHEMA_REGISTRY_PASSWORD"),
    *("NETRC", "REQUESTS_CA_BUNDLE"),
)

LONGEST = 255  # bytes of a file's name, on every file system that matters


def _stays_below(path: str) -> str:
    parts = path.split("/")
    if path.startswith("/") or ".." in parts:
        raise ValueError("a file lies below the use case's folder: write its path from there")
    if not set(parts) - {"", "."}:
        raise ValueError("it is the use case's folder itself: write the path of a file in it, or a glob such as *.csv")
    if mixed := [part for part in parts if "**" in part and part != "**"]:
        raise ValueError(
            f"** stands for any folders and needs a slash: write {mixed[0].replace('**', '*')}, or **/*.csv for the files in all folders"
        )
    if any(len(os.fsencode(part)) > LONGEST for part in parts):
        raise ValueError(f"no name of a file is longer than {LONGEST} bytes: correct it")
    return path


def matching(folder: Path, path: str) -> list[Path]:
    """Return what a path or a glob means in a folder. A file of exactly that name is meant, whatever signs the name has."""
    return [folder / path] if (folder / path).is_file() else sorted(folder.glob(path))


Below = Annotated[str, AfterValidator(_stays_below)]
SECRETS_OF = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment are for that",
    "https": "put them into ~/.netrc (NETRC names another file)",
}


def without_secrets(address: Any) -> Any:
    """Refuse an address that has a secret in it, and do not repeat it: the config goes into compiled YAML, logs and MLflow."""
    scheme, _, rest = address.partition("://") if isinstance(address, str) else ("", "", "")
    if scheme in SECRETS_OF and "@" in rest.partition("/")[0]:
        raise PydanticCustomError("address", f"a name and password do not belong into the config: {SECRETS_OF[scheme]}")
    if scheme in SECRETS_OF and (secret := QUERY.search(rest)):
        name = secret[1].strip("?&;#=")
        raise PydanticCustomError(
            "address",
            f"it holds a secret ({name}), which does not belong into the config: remove it; {SECRETS_OF[scheme]}",
        )
    return address


Address = Annotated[str, BeforeValidator(without_secrets)]
Format = Literal["csv", "jsonl", "parquet", "avro"]
ByName = Annotated[Format | None, Field(default=None, description="Of the files; by their names if left out. gzip and zstd are undone by the name.")]
Options = Annotated[Csv, Field(description="How CSV files write their values.")]
COMPRESSED = (".gz", ".zst")
ALIASES = {"json": "jsonl", "ndjson": "jsonl"}
Since = Annotated[bool, Field(default=False, description="Read only what is new since the last run that succeeded.")]
TABLE_PATTERN = r'^([^."\x00]+|"([^"\x00]|"")+")(\.([^."\x00]+|"([^"\x00]|"")+"))?$'
Qualified = Annotated[str, pattern(TABLE_PATTERN, "write table or schema.table, and a name with a dot or a quote in double quotes")]
Service = Annotated[str, pattern(r"^[\w.-]+$", "write letters, digits, dots, dashes and underscores")]
Topic = Annotated[str, pattern(r"^[a-zA-Z0-9._-]{1,249}$", "write at most 249 letters, digits, dots, dashes and underscores")]
Checksum = Annotated[str, pattern(r"^[0-9a-f]{64}$", "write the 64 hexadecimal digits of a SHA-256 checksum")]


def format_of(name: str) -> str:
    """Return the format that a file's name tells, in whatever case it is written: its ending, without that of a compression."""
    path = Path(name.lower())
    kind = ALIASES.get(path.suffix[1:], path.suffix[1:])
    if path.suffix in COMPRESSED:
        kind = format_of(path.stem)
        return kind if kind in ("csv", "jsonl") else ""
    return kind


def _has_csv(source: Any) -> Any:
    kind = source.format or format_of(source.address)
    if source.csv != DEFAULT and kind != "csv" and kind in get_args(Format):
        raise ValueError(f"csv: the options are for CSV, these files are {kind}: remove them")
    return source


class FileSource(Frozen):
    """Files beside the use case's config, which travel in the image."""

    kind: Literal["file"]
    path: Below = Field(min_length=1, description="A path or a glob, below the use case's folder.")
    format: ByName
    csv: Options = DEFAULT
    _fits = model_validator(mode="after")(_has_csv)

    @property
    def address(self) -> str:
        """What messages and MLflow call it."""
        return self.path


class HttpsSource(Frozen):
    """One file of a web server."""

    kind: Literal["https"]
    url: Address = pattern(
        r"^https://[^/@\s]+(/\S*)?$",
        "write https://server/path, without a name or password",
        description="Its address. A name and password for it come from ~/.netrc.",
    )
    format: ByName
    csv: Options = DEFAULT
    sha256: Checksum | None = Field(default=None, description="The checksum that the file must have.")
    max_size: Bytes = Field(default="10GB", description="Greatest size allowed.")
    _fits = model_validator(mode="after")(_has_csv)

    @property
    def address(self) -> str:
        """What messages and MLflow call it: without a query, which may carry a secret."""
        return self.url.partition("?")[0]


class S3Source(Frozen):
    """Objects of the S3 server: one key, all below a prefix, or a glob of keys."""

    kind: Literal["s3"]
    uri: Address = pattern(
        r"^s3://[^/\s]+/.+$",
        "write s3://bucket/key",
        description="s3://bucket/key, s3://bucket/prefix/ with its slash, a glob (** goes through folders), or the manifest.json of a dataset.",
    )
    format: ByName
    csv: Options = DEFAULT
    incremental: Since
    _fits = model_validator(mode="after")(_has_csv)

    @property
    def address(self) -> str:
        """What messages and MLflow call it."""
        return self.uri


class PostgresqlSource(Frozen):
    """A table or a query of a PostgreSQL database, which PGHOST, PGDATABASE, PGUSER, PGPASSWORD and the like name."""

    kind: Literal["postgresql"]
    table: Qualified | None = Field(default=None, description="A table or view, with or without its schema; a name with a dot in quotes.")
    query: str | None = Field(default=None, min_length=1, description="One SELECT, in place of a table.")
    service: Service | None = Field(default=None, description="A section of PGSERVICEFILE, if several databases are read.")
    partition: str | None = Field(default=None, min_length=1, description="A column of numbers or times by whose ranges parts are read side by side.")
    partitions: Int = Field(default=4, ge=2, le=64, description="How many parts, if `partition` is named.")
    timeout: Int = Field(default=3600, ge=1, description="Seconds after which the server gives up a statement.")
    incremental: str | None = Field(
        default=None, min_length=1, description="A column that only grows: rows above its greatest value in the last run that succeeded."
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> "PostgresqlSource":
        if (self.table is None) == (self.query is None):
            raise ValueError("write exactly one of table and query")
        return self

    @property
    def address(self) -> str:
        """What messages and MLflow call it."""
        name = self.table or f"query-{hashlib.sha256(str(self.query).encode()).hexdigest()[:8]}"
        return f"postgresql://{self.service or ''}/{name}"


class KafkaSource(Frozen):
    """The messages of a topic between two points, of the brokers that KAFKA_BOOTSTRAP_SERVERS names."""

    kind: Literal["kafka"]
    topic: Topic = Field(description="The topic.")
    format: Literal["json", "avro", "protobuf"] = Field(default="json", description="What the values are.")
    definition: Below | None = Field(
        default=None,
        description="Path of the schema beside the config (.avsc, or a .desc of protoc); those of the registry at SCHEMA_REGISTRY_URL if left out.",
    )
    message: str | None = Field(default=None, description="The Protobuf message's full name, if its file has several.")
    start: str | dict[int, int] = Field(default="earliest", description="earliest, a time with its zone, or an offset for each partition.")
    end: str | dict[int, int] = Field(
        default="latest", description="latest when the run begins, a time with its zone, or an offset for each partition; exclusive."
    )
    latest_per_key: bool = Field(
        default=False, description="Of each key only the last message, as in a compacted topic; a tombstone removes the key."
    )
    incremental: Since
    timeout: Int = Field(default=60, ge=1, le=3600, description="Seconds that the brokers may be silent.")

    @field_validator("start", "end")
    @classmethod
    def _point(cls, value: str | dict[int, int], info: ValidationInfo) -> str | dict[int, int]:
        word = {"start": "earliest", "end": "latest"}[str(info.field_name)]
        if isinstance(value, dict):
            if not value or min((*value.keys(), *value.values())) < 0:
                raise ValueError("write each partition and its offset, such as {0: 1500, 1: 1480}")
        elif value != word and not _has_zone(value):
            raise ValueError(f"{value} is neither {word} nor a time with its zone: write one such as 2024-01-31T00:00:00Z, or {{partition: offset}}")
        return value

    @model_validator(mode="after")
    def _fits(self) -> "KafkaSource":
        if self.format == "json" and self.definition:
            raise ValueError("definition is for avro and protobuf: the columns and types of json are the contract's")
        if self.format != "protobuf" and self.message:
            raise ValueError("message is for protobuf alone")
        return self

    @property
    def address(self) -> str:
        """What messages and MLflow call it."""
        return f"kafka:///{self.topic}"


def _has_zone(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def _spelt_out(given: Any) -> Any:
    """Turn an address into the mapping that it is short for."""
    if not isinstance(given, str):
        return given
    scheme, separator, rest = given.partition("://")
    if not separator:
        return {"kind": "file", "path": given}
    if scheme == "s3":
        return {"kind": "s3", "uri": given}
    if scheme == "https":
        return {"kind": "https", "url": given}
    if scheme in ("postgresql", "kafka"):
        if not rest.startswith("/"):  # perhaps with a password: it is not repeated here
            raise PydanticCustomError("address", f"where the server is and who may read there comes from the environment: write {scheme}:///NAME")
        return {"kind": scheme, {"postgresql": "table", "kafka": "topic"}[scheme]: rest[1:]}
    known = "s3://bucket/key, https://host/file, postgresql:///schema.table, kafka:///topic"
    raise PydanticCustomError("address", f"{shown(given)} is of no known kind: write {known} or a path beside the config")


def csv_of(source: Any) -> Csv | None:
    """Return how a source's CSV files are written; None of other files and other sources."""
    is_csv = isinstance(source, Files) and (source.format or format_of(source.address)) == "csv"
    return source.csv if is_csv else None


Files = FileSource | HttpsSource | S3Source
Kind = FileSource | HttpsSource | S3Source | PostgresqlSource | KafkaSource
Source = Annotated[Annotated[Kind, Field(discriminator="kind")], BeforeValidator(_spelt_out, json_schema_input_type=str | Kind)]
