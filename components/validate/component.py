"""The Kubeflow face of validate."""

from kfp import dsl

from components.step import step


@step
def validate(config: str, raw: dsl.Input[dsl.Dataset], data_report: dsl.Output[dsl.HTML], summary: dsl.Output[dsl.Markdown]) -> None:
    """Check the raw tables against the contract, and stop the run if they break it.

    Args:
        config: The use case, as YAML text.
        raw: A folder with `<source>.parquet` for each source; its metadata say where each came from.
        data_report: What breaks the contract, what each column holds, what has changed since the last run that succeeded.
        summary: What came out, in one line.
    """
    from components.validate.contract import validate
    from core.tracking import record

    with record("validate", config, summary.path) as run:
        validate(run, raw.path, data_report.path, raw.metadata)
