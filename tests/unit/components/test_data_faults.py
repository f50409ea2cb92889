"""A disk that is full while tables spill to it or are written: one sentence that names it, nothing left behind, and with room the same bytes."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.transform.table import transform
from components.validate.contract import validate
from core.errors import UserError
from core.tracking import Run
from tests import disks
from tests.unit import small

NUMBERS = ("alcohol", "malic_acid", "ash", "hue")
FULL = "the disk of {}, to which tables spill, is full: make room there or set TMPDIR to a folder of another disk, then run again"


@dataclass(frozen=True)
class Disk:
    """A small disk, which can be given another size."""

    folder: Path

    def size(self, megabytes: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={megabytes}m", str(self.folder)], check=True)

    @contextmanager
    def filled_once_there_is(self, pattern: str) -> Iterator[None]:
        """Let another program take all the room as soon as there is such a file."""
        ended = threading.Event()

        def take() -> None:
            while not ended.wait(0.001) and not list(self.folder.glob(pattern)):
                pass
            with (self.folder / "filler").open("wb", buffering=0) as file, suppress(OSError):
                while not ended.is_set():
                    file.write(bytes(1 << 20))

        thread = threading.Thread(target=take)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            (self.folder / "filler").unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    if not disks.mount(folder, megabytes=1):
        pytest.skip("only root on Linux can mount a small disk")
    yield Disk(folder)
    disks.unmount(folder)


def validated(folder: Path) -> bytes:
    """Let validate look for keys that repeat; return the page and the sentence."""
    rows, random = 1_000_000, np.random.default_rng(0)
    if not (folder / "wine.parquet").exists():
        pq.write_table(pa.table({"hue": random.integers(0, rows // 2, rows).astype(float)}), folder / "wine.parquet")
    contract = {"columns": {"hue": {"type": "number"}}, "unique": [["hue"]]}
    with pytest.raises(UserError) as refused:
        validate(Run("validate", small.variant("wine", contract__wine=contract, limits__memory="24MB")), str(folder), str(folder / "page.html"))
    if not str(refused.value).startswith("bad data"):
        raise refused.value
    return (folder / "page.html").read_bytes() + str(refused.value).encode()


def transformed(folder: Path, target: Path | None = None) -> bytes:
    """Let transform sort more than its memory holds; return the table."""
    table = target or folder / "table.parquet"
    rows, random = 300_000, np.random.default_rng(0)
    if not (folder / "wine.parquet").exists():
        numbers = {name: random.normal(size=rows) for name in NUMBERS}
        pq.write_table(pa.table(numbers | {"cultivar": random.choice(["barolo", "barbera"], rows).tolist()}), folder / "wine.parquet")
    columns = {name: {"type": "number"} for name in NUMBERS} | {"cultivar": {"type": "string"}}
    usecase = small.variant("wine", contract__wine__columns=columns, features__numeric=list(NUMBERS), limits__memory="64MB")
    transform(Run("transform", usecase), str(folder), str(table))
    return table.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(("step", "little"), [pytest.param(validated, 3, id="validate"), pytest.param(transformed, 18, id="transform")])
@pytest.mark.parametrize("moment", ["before", "meanwhile"])
def test_a_disk_that_is_full_when_tables_spill_is_named_and_with_room_come_the_same_bytes(
    disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: Callable[[Path], bytes], little: int, moment: str
) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    expected = step(raw)
    (inputs, *outputs) = sorted(raw.iterdir(), key=lambda path: path.name != "wine.parquet")
    for output in outputs:
        output.unlink()
    monkeypatch.setattr("tempfile.tempdir", str(disk.folder))

    disk.size(little if moment == "before" else 64)
    with pytest.raises(UserError) as refused:
        if moment == "before":
            step(raw)
        else:
            with disk.filled_once_there_is("*/duckdb_temp*"):
                step(raw)

    assert str(refused.value) == FULL.format(disk.folder)
    assert (list(disk.folder.iterdir()), list(raw.iterdir())) == ([], [inputs])
    disk.size(400)
    assert step(raw) == expected


@pytest.mark.slow
def test_a_disk_without_room_for_the_table_is_named_and_with_room_come_the_same_bytes(disk: Disk, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    expected = transformed(raw)
    (disk.folder / "made").mkdir()
    target = disk.folder / "made" / "table.parquet"

    disk.size(5)
    with pytest.raises(UserError) as refused:
        transformed(raw, target)

    assert str(refused.value) == f"the disk at {disk.folder} is full: make room there, then run again"
    assert list(target.parent.iterdir()) == []
    disk.size(400)
    assert transformed(raw, target) == expected
