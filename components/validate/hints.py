"""What in a column of text is often a mistake, and the line that cures it: blanks, texts that look alike, signs of a missing value."""

import json
import unicodedata
from collections.abc import Iterator

from components.validate.texts import MARKERS, Texts
from core.csvoptions import Csv
from core.csvtext import DELIMITERS
from core.fields import BLANKS, SPACES


def hints(name: str, texts: Texts, csv: Csv | None) -> Iterator[str]:
    """Yield what may be wrong with a column, each with its cure.

    Args:
        name: Of the column.
        texts: What is odd among its texts.
        csv: The options of its source, if that is CSV.
    """
    if name != name.strip(BLANKS):
        yield f"its name {name!r} has blanks around it: {'csv: {strip: true}' if csv else 'rename it'}"
    if texts.blank is not None:
        yield f"values have blanks around them, such as {texts.blank!r}: {'csv: {strip: true}' if csv else 'strip() in features()'}"
    known = csv.missing if csv else MARKERS
    new = [sign for sign in texts.markers if sign not in known]
    if texts.others:
        listed = " and ".join(map(repr, texts.others))
        condition = f"if {listed} {'mean' if len(texts.others) > 1 else 'means'} missing, write {_cure_of_others(texts.others, csv)}"
        yield f"all but {texts.other_count:,} of {texts.known:,} values are numbers: {condition}"
    elif new:
        yield f"{new[0]!r} may mean missing: csv: {{missing: {_list([*known, *new])}}}"
    signs = [sign for sign in texts.bare_markers if sign in known] if csv else texts.markers  # in CSV in quotes, which make it a text
    if kept := [sign for sign in signs if sign not in texts.others]:
        yield f"{kept[0]!r} may mean missing: nullif({kept[0]!r}) in features()"
    if texts.alike:
        same = len({unicodedata.normalize("NFC", text) for text in texts.alike}) == 1  # they would be printed as one
        one, other = map(ascii if same else repr, texts.alike)
        yield f"{one} and {other} look alike: spell them alike in features()"


def _cure_of_others(others: tuple[str, ...], csv: Csv | None) -> str:
    """Return what makes numbers of a column in which these texts stand beside numbers."""
    added = [text.strip(SPACES) for text in others]
    if csv is None or not all(added) or set("".join(added)) & set(f'"\r\n{csv.delimiter or DELIMITERS}'):
        return "try_cast('float64') in features()"
    return f"csv: {{missing: {_list([*csv.missing, *added])}}}"


def _list(texts: list[str]) -> str:
    return json.dumps(list(dict.fromkeys(texts)), ensure_ascii=False)
