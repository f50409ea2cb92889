"""One row a wine."""

from ibis import Table


def features(wine: Table) -> Table:
    """Take the table as it is: the contract has checked it."""
    return wine
