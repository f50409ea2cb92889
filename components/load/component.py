"""The Kubeflow face of load."""

from kfp import dsl

from components.step import step


@step
def load(
    config: str,
    table: dsl.Input[dsl.Dataset],
    validation: dsl.Input[dsl.HTML],
    trials: dsl.Input[dsl.HTML],
    evaluation: dsl.Input[dsl.HTML],
    summary: dsl.Output[dsl.Markdown],
) -> None:
    """Write what the config names under `load` to its targets, once a run.

    Args:
        config: The use case, as YAML text.
        table: Parquet, one row an example, with a `split` column.
        validation: The page of validate.
        trials: The page of train.
        evaluation: The page of evaluate.
        summary: What came out, in one line.
    """
    from components.load.load import load
    from core.tracking import record

    with record("load", config, summary.path) as run:
        load(run, table.path, {"validation": validation.path, "trials": trials.path, "evaluation": evaluation.path})
