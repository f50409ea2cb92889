"""The Kubeflow face of transform."""

from kfp import dsl

from components.step import step


@step
def transform(config: str, raw: dsl.Input[dsl.Dataset], table: dsl.Output[dsl.Dataset]) -> None:
    """Make the one table that the model learns from.

    Args:
        config: The use case, as YAML text.
        raw: A folder with `<source>.parquet` for each source.
        table: Parquet, one row an example, with a `split` column; its metadata hold the rows and columns.
    """
    from components.transform.table import transform
    from core.tracking import record

    with record("transform", config) as run:
        table.metadata.update(transform(run, raw.path, table.path, raw.uri))
