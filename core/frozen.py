"""What every part of the configuration is: a model that refuses unknown keys and never changes."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, Strict

Int = Annotated[int, Strict()]  # no true, no "7": pydantic would make 1 and 7 of them
Float = Annotated[float, Strict()]
WORDS: dict[str, str] = {}  # what a text has to be, for each pattern


def pattern(expression: str, words: str, **more: Any) -> Any:
    """Return the field, or the annotation, of a text that a pattern describes.

    Args:
        expression: A regular expression, as JSON schema has them.
        words: What to write, for those who read no regular expressions.
        more: What else pydantic's `Field` takes.
    """
    WORDS[expression] = words
    return Field(pattern=expression, **more)


Identifier = Annotated[str, pattern(r"^[A-Za-z_][A-Za-z0-9_]*$", "write letters, digits and underscores, no digit first")]
Bytes = Annotated[str, pattern(r"^[0-9]+(MB|GB)$", "write a size such as 512MB or 2GB")]


class Frozen(BaseModel):
    """Refuses unknown keys, never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
