"""Where results go: one model a kind of target.

A target says what to write. Where its server is and who may write there comes from the environment, never from here.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from core.frozen import Frozen, Int, pattern
from core.sources import Address, Below, Qualified, Service, Topic

Key = Annotated[tuple[str, ...], Field(min_length=1)]


class S3Target(Frozen):
    """A dataset of Parquet files below a prefix, which its manifest.json lists; or pages."""

    kind: Literal["s3"]
    uri: Address = pattern(
        r"^s3://[^/\s]+/\S*/$", "write s3://bucket/prefix/, with the slash at its end", description="s3://bucket/prefix/, with its slash."
    )
    partition_by: tuple[str, ...] = Field(default=(), description="Columns whose values are folders, as in Hive: month=1/.")
    mode: Literal["replace", "append"] = Field(default="replace", description="replace: only this run's rows. append: the rows of all runs.")

    @property
    def address(self) -> str:
        """What messages and MLflow call it."""
        return self.uri


class PostgresqlTarget(Frozen):
    """A table of a PostgreSQL database, which PGHOST, PGDATABASE, PGUSER, PGPASSWORD and the like name; made if it is missing."""

    kind: Literal["postgresql"]
    table: Qualified = Field(description="The table, with or without its schema.")
    service: Service | None = Field(default=None, description="A section of PGSERVICEFILE, if there are several databases.")
    mode: Literal["replace", "append", "merge"] = Field(
        default="replace",
        description="replace: only this run's rows. append: added to the others. merge: a row takes the place of the one with its key.",
    )
    key: Key | None = Field(default=None, description="The columns that no two rows share, if mode is merge.")

    @model_validator(mode="after")
    def _key_of_a_merge(self) -> "PostgresqlTarget":
        if (self.mode == "merge") != (self.key is not None):
            raise ValueError("mode: merge needs a key, and no other mode has one")
        return self

    @property
    def address(self) -> str:
        """What messages and MLflow call it."""
        return f"postgresql://{self.service or ''}/{self.table}"


class KafkaTarget(Frozen):
    """A topic of the brokers that KAFKA_BOOTSTRAP_SERVERS names."""

    kind: Literal["kafka"]
    topic: Topic = Field(description="The topic.")
    key: Key | None = Field(
        default=None, description="Columns of the message's key: one is written as it is, several as JSON. Rows of one key keep their order."
    )
    format: Literal["json", "avro"] = Field(default="json", description="What the values are.")
    definition: Below | None = Field(default=None, description="Path of the Avro schema (.avsc) beside the config, if format is avro.")
    timeout: Int = Field(default=60, ge=1, description="Seconds that the brokers may be silent.")

    @model_validator(mode="after")
    def _definition_of_avro(self) -> "KafkaTarget":
        if (self.format == "avro") != (self.definition is not None):
            raise ValueError("format: avro needs a definition, json has none")
        return self

    @property
    def address(self) -> str:
        """What messages and MLflow call it."""
        return f"kafka:///{self.topic}"


def _spelt_out(given: Any) -> Any:
    """Turn an address into the mapping that it is short for."""
    if not isinstance(given, str):
        return given
    scheme, _, rest = given.partition("://")
    if scheme == "s3":
        return {"kind": "s3", "uri": given}
    if scheme in ("postgresql", "kafka") and rest.startswith("/"):
        return {"kind": scheme, {"postgresql": "table", "kafka": "topic"}[scheme]: rest[1:]}
    raise PydanticCustomError(  # perhaps with a password: it is not repeated here
        "address",
        "no known target: write s3://bucket/prefix/, postgresql:///schema.table or kafka:///topic; "
        "where the server is and who may write there comes from the environment",
    )


Kind = S3Target | PostgresqlTarget | KafkaTarget
Target = Annotated[Annotated[Kind, Field(discriminator="kind")], BeforeValidator(_spelt_out, json_schema_input_type=str | Kind)]


class Load(Frozen):
    """What goes where when a run has come to its verdict; once, however often the run's step is repeated."""

    what: Literal["table", "predictions", "report"] = Field(
        description="table: of `features()`, with its split. predictions: of the model that serves then, on the test rows. report: the steps' pages."
    )
    to: Target = Field(description="An address, or a mapping with its `kind`, see below.")

    @model_validator(mode="after")
    def _pages_are_objects(self) -> "Load":
        if self.what == "report" and (self.to.kind != "s3" or self.to.partition_by):
            raise ValueError("a report is pages: write them to s3://bucket/prefix/, without partition_by")
        return self


def _distinct(loads: tuple[Load, ...]) -> tuple[Load, ...]:
    """Refuse a target that is named twice: of one run, it takes one load."""
    addresses = [load.to.address for load in loads]
    twice = next((address for address in addresses if addresses.count(address) > 1), None)
    if twice:
        raise ValueError(f"{twice} is named twice: write each to a target of its own")
    return loads


Loads = Annotated[tuple[Load, ...], AfterValidator(_distinct)]
