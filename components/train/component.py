"""The Kubeflow face of train."""

from kfp import dsl

from components.step import step


@step
def train(config: str, table: dsl.Input[dsl.Dataset], model: dsl.Output[dsl.Model], trials: dsl.Output[dsl.HTML]) -> float:
    """Fit the candidate models, keep the best on the validation rows, and fit it on the rows that `train.refit` says.

    Args:
        config: The use case, as YAML text.
        table: Parquet, one row an example, with a `split` column.
        model: The fitted scikit-learn pipeline, in skops' format.
        trials: One line a trial: parameters, score, seconds.

    Returns:
        Score of the best trial on the validation rows, in the use case's metric.
    """
    from components.train.fit import fit
    from core.tracking import record

    with record("train", config) as run:
        return fit(run, table.path, model.path, trials.path)
