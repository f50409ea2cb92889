"""The Kubeflow face of validate."""

from kfp import dsl

from components.step import step


@step
def validate(config: str, raw: dsl.Input[dsl.Dataset], page: dsl.Output[dsl.HTML]) -> None:
    """Check the raw tables against the contract, and stop the run if they break it.

    Args:
        config: The use case, as YAML text.
        raw: A folder with `<source>.parquet` for each source; its metadata say where each came from.
        page: The data report: what breaks the contract, what each column holds, what has changed since the last run that succeeded.
    """
    from components.validate.contract import validate
    from core.tracking import record

    with record("validate", config) as run:
        validate(run, raw.path, page.path, raw.metadata)
