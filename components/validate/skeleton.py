"""The part `features` of a config, proposed from the columns of the sources: a start to cut down, not an answer."""

from collections.abc import Callable, Iterator

from components.validate.profile import Profile
from components.validate.rules import TYPES, kind
from components.validate.words import printable

MANY = 250  # different texts, beyond which a one-hot column would not keep them apart


def skeleton(known: dict[str, Profile], keys: list[list[str]], flow: Callable[[list[str]], str]) -> Iterator[str]:
    """Yield lines of YAML: numbers and booleans are numeric, text is categorical. Which column is the target, nobody has said yet.

    Args:
        known: The profile of each column, of all sources.
        keys: Sets of columns that no two rows share.
        flow: Writes a list on one line of YAML.
    """
    reasons = {name: _unfit(column, [name] in keys) for name, column in known.items()}
    fit = [name for name, reason in reasons.items() if not reason]
    yield "features:  # remove the target, and what is known only after it; add what features() makes"
    for role, is_text in (("numeric", False), ("categorical", True)):
        yield f"  {role}: {flow([name for name in fit if _is_text(known[name]) is is_text])}"
    if len(fit) < len(known):
        yield f"  # left out: {', '.join(f'{printable(name)[:40]} ({reason})' for name, reason in reasons.items() if reason)}"


def _is_text(column: Profile) -> bool:
    return kind(column.type) in TYPES["string"]


def _unfit(column: Profile, is_key: bool) -> str:
    """Say why a column is no feature as it is; empty if it may be one."""
    if not column.known:
        return "only nulls"
    if is_key:
        return "a key"
    if _is_text(column) and column.distinct > MANY:
        return f"{column.distinct:,} different texts"
    return {"time": "a time: make numbers of it in features()", "other": "of no type that a model reads"}.get(column.kind, "")
