"""What every part of the configuration is: a model that refuses unknown keys and never changes."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, Strict

Int = Annotated[int, Strict()]  # no true, no "7": pydantic would make 1 and 7 of them
Float = Annotated[float, Strict()]
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Bytes = Annotated[str, Field(pattern=r"^[0-9]+(MB|GB)$")]


class Frozen(BaseModel):
    """Refuses unknown keys, never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def count(size: str) -> int:
    """Return the bytes of a size such as 512MB, a thousand thousands each, or 512Mi, 1024 times 1024 each."""
    return int(size[:-2]) * {"MB": 10**6, "GB": 10**9, "Mi": 2**20, "Gi": 2**30}[size[-2:]]
