"""What in a column of text is often a mistake, and the line that cures it: blanks, texts that look alike, signs of a missing value."""

import json
from collections.abc import Iterator

from components.validate.profile import Profile
from core.csvoptions import Csv
from core.fields import BLANKS

MARKERS = ("?", "-", ".", "N/A", "n/a", "#N/A", "NULL", "null", "None", "none", "nan", "NaN", "\\N", "NA")


def hints(name: str, column: Profile, csv: Csv | None) -> Iterator[str]:
    """Yield what may be wrong with a column, each with its cure.

    Args:
        name: Of the column.
        column: What it holds.
        csv: The options of its source, if that is CSV.
    """
    texts = list(column.values) if column.kind == "text" else []
    strip = "csv: {strip: true}" if csv else "strip() in features()"
    if name != name.strip(BLANKS):
        yield f"its name {name!r} has blanks around it: {'csv: {strip: true}' if csv else 'rename it'}"
    if blank := [text for text in texts if text != text.strip(BLANKS)]:
        yield f"values have blanks around them, such as {blank[0]!r}: {strip}"
    signs = [text for text in texts if text.strip(BLANKS) in MARKERS]
    known = csv.missing if csv else MARKERS
    if new := list(dict.fromkeys(sign.strip(BLANKS) for sign in signs if sign.strip(BLANKS) not in known)):
        listed = json.dumps([*known, *new], ensure_ascii=False)
        yield f"{new[0]!r} may mean missing: csv: {{missing: {listed}}}"
    if kept := [sign for sign in signs if sign in known or not csv]:  # in CSV in quotes, which make it a text
        yield f"{kept[0]!r} may mean missing: nullif({kept[0]!r}) in features()"
    seen: dict[str, str] = {}
    for text in texts:
        other = seen.setdefault(text.strip(BLANKS).casefold(), text)
        if other != text:
            yield f"{other!r} and {text!r} look alike: {strip if other.strip(BLANKS) == text.strip(BLANKS) else 'spell them alike in features()'}"
            return
