"""The files of one delivery, and how messages call them."""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from components.extract.delivery import Delivery, Request
from core.csvoptions import DEFAULT, Csv
from core.errors import UserError
from core.featurecode import FOLDER
from core.sources import Files, Kind
from core.tables import literal

FILE = "extract:file"  # the column that tells of which file a row is
CONVERTED = ".converted"  # the folder of what was made of files that DuckDB cannot read
MOST = 10_000  # columns


@dataclass(frozen=True)
class Batch:
    """The files of one delivery."""

    source: Kind
    request: Request
    delivery: Delivery

    def refusal(self, what: str, file: Path | None = None) -> UserError:
        """Make the error that says of the source, or of one of its files, what is wrong."""
        called = self.called(file) if file else self.source.address
        return UserError(f"source {self.request.name}: {called} {what}")

    def damaged(self, cause: str) -> UserError:
        """Make the error that says that the files are not what they should be."""
        for file in self.delivery.files:
            cause = cause.replace(str(file), self.relative(file))
        return self.refusal(f"cannot be read, it is damaged or no {self.delivery.format} ({cause}): deliver it again")

    def called(self, file: Path) -> str:
        """Return what a message calls a file: the source's address, and of several files its name."""
        return self.source.address if len(self.delivery.files) == 1 else f"{self.source.address} ({self.relative(file)})"

    @cached_property
    def partitions(self) -> list[str]:
        """The columns that the paths hold, as in `year=2024/month=01/part.parquet`.

        Raises:
            UserError: Not all paths hold the same.
        """
        first, *others = [
            tuple(part.partition("=")[0] for part in Path(self.relative(file)).parts[:-1] if "=" in part) for file in self.delivery.files
        ]
        for other, file in zip(others, self.delivery.files[1:], strict=True):
            if other != first:
                raise self.refusal(f"lies in partitions of {_listed(other)}, others in those of {_listed(first)}: deliver one layout", file)
        return list(first)

    @property
    def csv(self) -> Csv:
        """How the source writes CSV."""
        return self.source.csv if isinstance(self.source, Files) else DEFAULT

    def options(self) -> str:
        """Return what is asked of each of DuckDB's readers: partitions as text, and of which file a row is."""
        return f"hive_partitioning = {bool(self.partitions)}, hive_types_autocast = false, filename = {literal(FILE)}"

    def check_names(self, names: list[str], file: Path | None = None) -> None:
        """Refuse columns that SQL, which knows no case, cannot tell apart.

        Raises:
            UserError: There are such.
        """
        if len(names) > MOST:
            raise self.refusal(f"has {len(names):,} columns, at most {MOST:,} are possible: deliver them as rows", file)
        for spelt, times in Counter(name.lower() for name in names).items():
            if times > 1:
                same = sorted({name for name in names if name.lower() == spelt})
                what = f"the column {same[0]} twice" if len(same) == 1 else f"columns that differ in case only ({', '.join(same)})"
                raise self.refusal(f"has {what}: rename one", file)

    def converted(self, file: Path, name: str = "rows") -> Path:
        """Return where a copy of a file lies that was made for DuckDB: its partitions stay in its path."""
        path = self.request.folder / CONVERTED / self.relative(file) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def relative(self, file: Path) -> str:
        """Return a file's name below the folder in which the delivery lies."""
        copies = self.request.folder / CONVERTED
        if file.is_relative_to(copies):
            return file.parent.relative_to(copies).as_posix()
        roots = (self.request.folder, FOLDER / self.request.usecase)
        return next((file.relative_to(root).as_posix() for root in roots if file.is_relative_to(root)), file.name)


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "no columns"
