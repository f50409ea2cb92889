"""The Kubeflow face of transform."""

from kfp import dsl

from components.step import step


@step
def transform(config: str, raw: dsl.Input[dsl.Dataset], table: dsl.Output[dsl.Dataset], summary: dsl.Output[dsl.Markdown]) -> None:
    """Compute the one table that the model learns from, or take it from the cache.

    Args:
        config: The use case, as YAML text.
        raw: A folder with `<source>.parquet` for each source.
        table: Parquet, one row an example, with a `split` column; its metadata have the rows, columns and fingerprint.
        summary: What came out, in one line.
    """
    from core.step_cache import cached, fingerprint
    from core.tracking import record

    with record("transform", config, summary.path) as run:
        key = fingerprint(run, raw=raw.metadata.get("sha256"))

        def work() -> dict[str, int]:
            from components.transform.table import transform

            return transform(run, raw.path, table.path, raw.uri)

        counts = cached(run, key, {"table": table.path}, work)
        table.metadata.update(counts | {"fingerprint": key})
