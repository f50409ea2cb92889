"""The binary tensor extension of the Open Inference Protocol: numbers in little-endian, text as a length of four bytes and UTF-8.

Source: Binary Tensor Data Extension, https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.columns import EXACT
from serving.errors import bad

DTYPES = {f"{sign}INT{bits}": f"<{sign.lower() or 'i'}{bits // 8}" for sign in ("", "U") for bits in (8, 16, 32, 64)} | {
    "BOOL": "?",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
LENGTH = struct.Struct("<I")


def numbers(name: str, datatype: str, data: memoryview, count: int) -> NDArray[np.float64]:
    """Read a tensor of numbers as 64-bit floats.

    Raises:
        RequestError: Its size is wrong, or a whole number has no exact float.
    """
    dtype = np.dtype(DTYPES[datatype])
    if len(data) != count * dtype.itemsize:
        raise bad(f"column {name}: {count} values of {datatype} are {count * dtype.itemsize} bytes, not {len(data)}")
    return floats(name, np.frombuffer(data, dtype))


def floats(name: str, values: NDArray[Any]) -> NDArray[np.float64]:
    """Give numbers of any type as 64-bit floats; refuse a whole number that has no exact one."""
    converted = values.astype(np.float64)
    if values.dtype.kind in "iu" and values.itemsize == 8:
        inexact = (np.abs(converted) >= EXACT) & (converted.astype(object) != values.astype(object))
        if inexact.any():
            row = int(inexact.argmax())
            raise bad(f"row {row}, column {name}: {values[row]} has no exact 64-bit float: send it as one")
    return converted


def texts(name: str, given: memoryview, count: int) -> list[str]:
    """Read a tensor of text; a missing value cannot be said in binary, only in JSON.

    Raises:
        RequestError: Its size is wrong, or it is not UTF-8.
    """
    values: list[str] = []
    data, size, stop, head = bytes(given), len(given), 0, LENGTH.size
    try:
        while stop < size:
            (length,) = LENGTH.unpack_from(data, stop)
            start = stop + head
            stop = start + length
            if stop > size:
                raise bad(f"column {name}: value {len(values)} says that it has {length} bytes, {size - start} are left")
            values.append(data[start:stop].decode())
    except struct.error as error:
        raise bad(f"column {name}: {size - stop} bytes are left over behind value {len(values)}") from error
    except UnicodeDecodeError as error:
        raise bad(f"row {len(values)}, column {name}: not UTF-8: {error.reason}") from error
    if len(values) != count:
        raise bad(f"column {name}: the shape says {count} rows, the binary data hold {len(values)}")
    return values


def dump(values: NDArray[Any], datatype: str) -> bytes:
    """Write a tensor."""
    if datatype != "BYTES":
        return values.astype(DTYPES[datatype]).tobytes()
    encoded = [value.encode() for value in values.ravel().tolist()]
    return b"".join(LENGTH.pack(len(value)) + value for value in encoded)
