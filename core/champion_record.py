"""Who is champion, written down on S3 beside the models: a run that asks another MLflow, or an empty one, finds it."""

import json
from typing import NamedTuple

from core.errors import UserError
from core.storage import NoSuchObject, root
from core.storage import read as read_object
from core.storage import write as write_object


class ChampionRecord(NamedTuple):
    """The version that became champion last.

    Attributes:
        version: Its number.
        digest: SHA-256 of its served form.
    """

    version: str
    digest: str


def address(name: str) -> str:
    """Return where the record of a use case lies."""
    return f"{root('models')}/{name}/champion.json"


def read(name: str) -> ChampionRecord | None:
    """Return the record of a use case, None if there never was a champion.

    Raises:
        UserError: It is damaged, or S3 refuses.
    """
    try:
        return ChampionRecord(**json.loads(read_object(address(name))))
    except NoSuchObject:
        return None
    except (ValueError, TypeError) as error:
        raise UserError(f"{address(name)} is damaged: delete it, then run `mlops deploy {name} --resume`") from error


def write(name: str, version: str, digest: str) -> None:
    """Write down who is champion now."""
    text = json.dumps(ChampionRecord(version, digest)._asdict())
    write_object(address(name), text.encode(), "application/json")
