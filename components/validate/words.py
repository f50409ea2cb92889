"""How the data report writes shares, values and times."""

from datetime import UTC, datetime, timedelta

from components.validate.profile import Profile
from core.reports import short

DAY = 86_400
START = datetime(1970, 1, 1, tzinfo=UTC)


def share(part: float) -> str:
    """Write a share as percent with two digits that count; what is not nothing is never written as nothing."""
    percent = 100 * part
    if 0 < percent < 0.01:
        return "< 0.01 %"
    return (
        f"{min(percent, 99.99) if part < 1 else percent:{'.2f' if percent < 1 or 99 < percent < 100 else '.1f'}}".rstrip("0").rstrip(".") + " %"
        if percent
        else "0 %"
    )


def printable(text: str) -> str:
    """Write a text on one line: whatever cannot be printed, such as a line break, becomes a blank."""
    return "".join(sign if sign.isprintable() else " " for sign in text)


def value(number: float, column: Profile) -> str:
    """Write a value of a column of numbers or times."""
    if column.kind == "number":
        return short(number)
    try:
        moment = START + timedelta(seconds=number)
    except OverflowError:
        return short(number)
    return moment.isoformat(" ")[: len("2013-12-31" if column.type == "DATE" or _by_day(column) else "2013-12-31 23:59")]


def _by_day(column: Profile) -> bool:
    """Tell whether the hours say nothing: the values span months."""
    return bool(column.quantiles) and column.quantiles[-1] - column.quantiles[0] > 60 * DAY
