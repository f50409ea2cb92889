"""The Kubeflow faces of train, and of refit, which fits the judged model on all rows if `train.refit` is `all`."""

from typing import NamedTuple

from kfp import dsl

from components.step import step


@step
def train(
    config: str,
    table: dsl.Input[dsl.Dataset],
    model: dsl.Output[dsl.Model],
    trials: dsl.Output[dsl.HTML],
    summary: dsl.Output[dsl.Markdown],
) -> NamedTuple("Outputs", [("validation_score", float)]):  # type: ignore[valid-type]
    """Fit the candidate models, keep the best on the validation rows, and fit it on the rows that `train.refit` says.

    The same table, code and config have the same result, which then comes from the cache.

    Args:
        config: The use case, as YAML text.
        table: Parquet, one row an example, with a `split` column.
        model: The fitted scikit-learn pipeline, in skops' format.
        trials: One line a trial: parameters, score, seconds.
        summary: What came out, in one line.

    Returns:
        Score of the best trial on the validation rows, in the use case's metric.
    """
    from core.step_cache import cached, fingerprint
    from core.tracking import record

    with record("train", config, summary.path) as run:
        key = fingerprint(run, table=table.metadata.get("fingerprint"))
        outputs = {"model": model.path, "trials": trials.path}

        def work() -> float:
            from components.train.fit import fit

            return fit(run, table.path, model.path, trials.path)

        value = cached(run, key, outputs, work)
        model.metadata["candidate"] = run.parameters["candidate"]
        model.metadata["seen"] = "train+validation"  # fitted on the one at least, chosen by the other
        return (value,)


@step
def refit(
    config: str,
    table: dsl.Input[dsl.Dataset],
    judged: dsl.Input[dsl.Model],
    rows: dsl.Input[dsl.Dataset],
    model: dsl.Output[dsl.Model],
    golden: dsl.Output[dsl.Dataset],
    summary: dsl.Output[dsl.Markdown],
) -> None:
    """Fit the judged model's pipeline once more, on the rows of all splits.

    Args:
        config: The use case, as YAML text.
        table: Parquet, one row an example, with a `split` column.
        judged: The judged model; its metadata name its candidate.
        rows: The golden rows and the judged model's answers.
        model: The fitted scikit-learn pipeline, in skops' format.
        golden: The golden rows and this model's answers.
        summary: What came out, in one line.
    """
    from components.train.refit import refit
    from core.tracking import record

    with record("refit", config, summary.path) as run:
        refit(run, judged.metadata["candidate"], table.path, judged.path, rows.path, model.path, golden.path)
        model.metadata["seen"] = "all"
        golden.metadata.update(rows.metadata)
