"""Files of text, plain or compressed: read once as bytes, for what DuckDB takes without a word.

It reads a zstd file that is cut off, a gzip file whose checksum is wrong, and NUL bytes.
"""

import codecs
from pathlib import Path
from typing import Any, TextIO

from components.extract.batch import Batch
from core.csvtext import MARK
from core.errors import UserError, first_line

COMPRESSION = {".gz": "gzip", ".zst": "zstd"}
LINE = 8_000_000  # bytes that a line may have: DuckDB holds some of them at once, within its memory limit
BLOCK = 1_000_000
LONGEST = LINE + 2 * BLOCK  # what DuckDB is told, so that it is this check that refuses
BEGINNINGS = {
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
    b"PK\x03\x04": "a zip archive or an Excel file",
    b"\x1f\x8b": "a gzip file",
    b"\x28\xb5\x2f\xfd": "a zstd file",
    b"PAR1": "a Parquet file",
    b"Obj\x01": "an Avro file",
    b"%PDF": "a PDF",
    b"<!doctype html": "a web page",
    b"<html": "a web page",
    b"<?xml": "XML",
}
CURES = {
    "UTF-16 text": "save it as UTF-8",
    "a zip archive or an Excel file": "unpack it, or save the sheet as csv",
    "a gzip file": "let its name end with .gz",
    "a zstd file": "let its name end with .zst",
    "a web page": "look whether the address needs a login, and deliver the file",
}


def compression(file: Path) -> str:
    """Return by a file's name how it is compressed, as DuckDB calls it."""
    return COMPRESSION.get(file.suffix.lower(), "none")


def opened(file: Path) -> Any:
    """Open a file for its bytes, decompressed."""
    import pyarrow as pa

    kind = compression(file)
    return pa.input_stream(str(file), compression=None if kind == "none" else kind)


def check_kind(batch: Batch, file: Path, beginning: bytes) -> None:
    """Refuse a file that begins as one of another kind does."""
    start = beginning.removeprefix(codecs.BOM_UTF8).lstrip().lower()
    what = next((what for sign, what in BEGINNINGS.items() if beginning.startswith(sign) or start.startswith(sign)), None)
    if what:
        kind = batch.delivery.format
        cure = CURES.get(what, f"deliver it as {kind} or correct sources.{batch.request.name}")
        option = _option(batch, "utf-16") if what == "UTF-16 text" else ""
        raise batch.refusal(f"is {what}, no {kind}: {cure}{option}", file)


def in_utf8(batch: Batch, file: Path) -> Path:
    """Return a file, or a copy in the form that DuckDB reads: UTF-8, plain, with no byte order mark but one of CSV.

    Raises:
        UserError: It is not in the encoding that the source names.
    """
    encoding = codecs.lookup(batch.csv.encoding).name
    try:
        with opened(file) as stream:
            beginning = stream.read(BLOCK)
            marks = 1 if batch.delivery.format == "csv" else 0
            if encoding == "utf-8" and not beginning.startswith(codecs.BOM_UTF8 * (marks + 1)):
                return file
            target = batch.converted(file)
            with target.open("w", encoding="utf-8", newline="") as copy:
                _decode(batch, file, stream, beginning, copy)
            return target
    except OSError as error:
        if error.errno is not None:
            raise
        return file  # it is damaged, which `check` says


def _decode(batch: Batch, file: Path, stream: Any, block: bytes, copy: TextIO) -> None:
    decoder = codecs.getincrementaldecoder(batch.csv.encoding)()
    line, is_begun = 1, False
    try:
        while block:
            text = decoder.decode(block)
            line += text.count("\n")
            text = text if is_begun else text.lstrip(MARK)
            is_begun = is_begun or bool(text)
            copy.write(text)
            block = stream.read(BLOCK)
        copy.write(decoder.decode(b"", final=True))
    except UnicodeError as error:
        raise batch.refusal(f"line {line:,} or one behind it is not {batch.csv.encoding}: correct csv.encoding of the source", file) from error


def check(batch: Batch, file: Path) -> bytes:
    """Read a file to its end.

    Returns:
        How it begins.

    Raises:
        UserError: It is cut off, no UTF-8, has NUL bytes or a line that is too long.
    """
    try:
        with opened(file) as stream:
            beginning: bytes = stream.read(BLOCK)
            check_kind(batch, file, beginning)
            _check_blocks(batch, file, stream, beginning)
            return beginning
    except OSError as error:
        if error.errno is not None:
            raise
        kind = compression(file)
        raise batch.refusal(f"cannot be read, it is damaged or no {kind} ({first_line(error)}): deliver it again", file) from error


def _check_blocks(batch: Batch, file: Path, stream: Any, block: bytes) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    line, length = 1, 0  # the number of the line in which the block begins, and how much of it came before
    while block:
        _check_block(batch, file, block, line, decoder)
        last = max(block.rfind(b"\n"), block.rfind(b"\r"))
        length = length + len(block) if last < 0 else len(block) - last - 1
        line += block.count(b"\n")
        if length > LINE:
            raise batch.refusal(f"line {line:,} is longer than {LINE // 10**6} MB: close its quotes, or shorten its values", file)
        block = stream.read(BLOCK)
    if decoder.getstate()[0]:
        raise _not_utf8(batch, file, line)


def _check_block(batch: Batch, file: Path, block: bytes, line: int, decoder: codecs.IncrementalDecoder) -> None:
    try:
        decoder.decode(block)
    except UnicodeDecodeError as error:
        raise _not_utf8(batch, file, line + error.object[: error.start].count(b"\n")) from error
    zero = block.find(b"\0")
    if zero >= 0:
        where = line + block[:zero].count(b"\n")
        raise batch.refusal(f"line {where:,} has a NUL byte, it is no text or was written in part: deliver it again", file)


def _not_utf8(batch: Batch, file: Path, line: int) -> UserError:
    return batch.refusal(f"line {line:,} is not UTF-8: save it as UTF-8{_option(batch, 'cp1252')}", file)


def _option(batch: Batch, encoding: str) -> str:
    """Say which line of the config reads a CSV file as it is."""
    name = batch.request.name
    return f", or set its encoding, such as csv: {{encoding: {encoding}}}, in sources.{name}" if batch.delivery.format == "csv" else ""
