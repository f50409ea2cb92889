"""Copy the sources into Parquet files: whole or not at all, with a hash of what was read and a note of where it came from."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.extract import formats
from components.extract.delivery import Delivery, Request
from components.extract.sources import fetch
from core.sources import Kind
from core.tracking import Run, config_source, end_orphans

ORIGIN = "origin.json"  # in MLflow: of each source what was read, and the watermark that counts if the pipeline run succeeds


def extract(run: Run, folder: str) -> dict[str, Any]:
    """Copy every source.

    A process that is killed leaves its downloads below $TMPDIR, in a pod an emptyDir, and `.part` beside the folder, which the next run removes.

    Args:
        run: The step's notes.
        folder: Where `<source>.parquet` is written for each, and `<source>.bad.parquet` where records could not be read.

    Returns:
        SHA-256 of all that was read, the rows of each table, and of each its hash and origin.

    Raises:
        UserError: A source cannot be read.
    """
    tables: dict[str, Any] = {}
    left: dict[str, Any] = {}
    if run.live:
        end_orphans(run.usecase)
        print(f"the config is that of {config_source(run.usecase)}", flush=True)
    before = _watermarks(run)
    with _whole(Path(folder)) as ready, tempfile.TemporaryDirectory() as workplace:
        for name, source in run.usecase.sources.items():
            place = Path(workplace, "sources", name)
            place.mkdir(parents=True)
            request = Request(
                run.usecase.name, name, run.usecase.contract[name], place, run.usecase.limits.memory, before.get(name, {}).get(source.address)
            )
            delivery = fetch(source, request)
            tables[name] = _keep(run, source, request, delivery, ready)
            left[name] = {"uri": source.address, "origin": delivery.origin, "pins": delivery.pins, "watermark": delivery.watermark}
            shutil.rmtree(place)
    run.artifacts[ORIGIN] = json.dumps(left, indent=2, sort_keys=True).encode()
    total = hashlib.sha256("".join(f"{name} {tables[name]['sha256']}\n" for name in sorted(tables)).encode()).hexdigest()
    run.tags["data.sha256"] = total
    run.metrics |= {f"rows.{name}": float(table["rows"]) for name, table in tables.items()}
    run.summary = ", ".join(f"{table['rows']:,} {name}" for name, table in tables.items())
    return {"sha256": total, **{f"rows_{name}": table["rows"] for name, table in tables.items()}, "tables": tables}


@contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """Give a place beside a folder, which takes the folder's name at the end; what a killed process left there is removed."""
    ready = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(ready, ignore_errors=True)
    ready.mkdir(parents=True)
    try:
        yield ready
        shutil.rmtree(folder, ignore_errors=True)
        ready.rename(folder)
    finally:
        shutil.rmtree(ready, ignore_errors=True)


def _watermarks(run: Run) -> dict[str, dict[str, Any]]:
    """Return, by source and address, how far the last run that succeeded has read."""
    if not any(getattr(source, "incremental", None) for source in run.usecase.sources.values()):
        return {}
    found = json.loads(run.accepted(ORIGIN) or b"{}")
    return {name: {left["uri"]: left["watermark"]} for name, left in found.items()}


def _keep(run: Run, source: Kind, request: Request, delivery: Delivery, ready: Path) -> dict[str, Any]:
    """Write a delivery as one Parquet file and note it."""
    table = formats.write(source, request, delivery, ready / f"{request.name}.parquet")
    if delivery.bad:
        shutil.copy(delivery.bad, ready / f"{request.name}.bad.parquet")
    digest = _hash(delivery.files)
    run.dataset(request.name, digest, {"uri": source.address} | delivery.origin, table.columns, table.rows, "raw")
    return {"sha256": digest, "rows": table.rows, "origin": delivery.origin}


def _hash(files: list[Path]) -> str:
    """Hash the files' hashes, so that it counts, too, where one ends and the next begins."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()
