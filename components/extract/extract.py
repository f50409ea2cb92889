"""Copy the sources into Parquet files: whole or not at all, with a hash of what was read."""

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import Any

import duckdb

from components.extract.sources import fetch
from core.errors import UserError, first_line
from core.tables import columns, connect, literal
from core.tracking import Run

READERS = {".parquet": "read_parquet([{}], union_by_name = true)", ".csv": "read_csv([{}], union_by_name = true, nullstr = ['', 'NA'])"}


def extract(run: Run, folder: str) -> dict[str, Any]:
    """Copy every source.

    Args:
        run: The step's notes.
        folder: Where `<source>.parquet` is written for each.

    Returns:
        SHA-256 of all that was read, and the rows of each table.

    Raises:
        UserError: A source cannot be read.
    """
    hashes, rows = {}, {}
    with tempfile.TemporaryDirectory() as workplace:
        ready = Path(workplace, "ready")
        ready.mkdir()
        for name, uri in run.usecase.sources.items():
            files = fetch(uri, run.usecase.name, Path(workplace, name))
            hashes[name] = _hash(files)
            rows[name] = _convert(run, name, files, ready / f"{name}.parquet")
            for file in files:
                if file.is_relative_to(workplace):
                    file.unlink()
        shutil.copytree(ready, folder, dirs_exist_ok=True)
    total = hashlib.sha256("".join(f"{name} {hashes[name]}\n" for name in sorted(hashes)).encode()).hexdigest()
    run.tags["data.sha256"] = total
    run.metrics |= {f"rows.{name}": float(count) for name, count in rows.items()}
    run.summary = ", ".join(f"{count:,} {name}" for name, count in rows.items())
    return {"sha256": total, **{f"rows_{name}": count for name, count in rows.items()}}


def _hash(files: list[Path]) -> str:
    """Hash the files' hashes, so that it counts, too, where one ends and the next begins."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _convert(run: Run, name: str, files: list[Path], target: Path) -> int:
    """Write the files as one Parquet file and return its rows."""
    uri = run.usecase.sources[name]
    kinds = {file.suffix for file in files}
    reader = READERS.get(kinds.pop()) if len(kinds) == 1 else None
    if reader is None:
        raise UserError(f"source {name}: {uri} names files of other kinds than one of {', '.join(READERS)}: correct sources.{name}")
    try:
        with connect(run.usecase.limits.memory) as connection:
            listed = ", ".join(literal(file) for file in files)
            connection.execute(f"COPY (FROM {reader.format(listed)}) TO {literal(target)} (FORMAT parquet, COMPRESSION zstd)")
            count = connection.execute(f"SELECT count(*) FROM read_parquet({literal(target)})").fetchall()[0][0]  # noqa: S608
            run.dataset(name, _hash([target]), uri, columns(connection, target), count, "raw")
            return int(count)
    except duckdb.Error as error:  # of damaged Parquet, also the class of all
        raise UserError(
            f"source {name}: {uri} cannot be read, it is damaged or no {files[0].suffix[1:]} ({_cause(error, files)}): deliver it again"
        ) from error


def _cause(error: Exception, files: list[Path]) -> str:
    text = first_line(error)
    for file in files:
        text = text.replace(str(file), file.name)
    return text
