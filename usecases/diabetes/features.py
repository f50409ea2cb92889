"""One row a patient."""

from ibis import Table, _


def features(patients: Table) -> Table:
    """Add the ratio of the two kinds of cholesterol."""
    return patients.mutate(ldl_to_hdl=_.ldl / _.hdl)
