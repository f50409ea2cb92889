"""The Kubeflow face of extract."""

from kfp import dsl

from components.step import step


@step
def extract(config: str, tables: dsl.Output[dsl.Dataset], summary: dsl.Output[dsl.Markdown]) -> None:
    """Copy every source that the config names into one Parquet file.

    Args:
        config: The use case, as YAML text.
        tables: A folder with `<source>.parquet` for each source; its metadata hold the content's SHA-256 and the row counts.
        summary: What came out, in one line.
    """
    from components.extract.extract import extract
    from core.tracking import record

    with record("extract", config, summary.path) as run:
        tables.metadata.update(extract(run, tables.path))
