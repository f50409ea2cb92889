"""The Kubeflow face of evaluate."""

from kfp import dsl

from components.step import step


@step
def evaluate(
    config: str,
    table: dsl.Input[dsl.Dataset],
    model: dsl.Input[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
    curves: dsl.Output[dsl.ClassificationMetrics],
    evaluation: dsl.Output[dsl.HTML],
    golden: dsl.Output[dsl.Dataset],
    summary: dsl.Output[dsl.Markdown],
) -> str:  # called `Output`: kfp's local runner knows no other name in a condition
    """Judge the challenger: by the champion on the same test rows, or, without one, by a dummy and the config's floor.

    Args:
        config: The use case, as YAML text.
        table: Parquet, one row an example, with a `split` column.
        model: The challenger.
        metrics: Challenger and rival on the same test rows, the difference and its interval.
        curves: ROC and confusion matrix, of a classifier.
        evaluation: The plots and the slices.
        golden: Some test rows and the challenger's answers to them, which every server must repeat; its metadata name
            the version that the challenger was judged against, empty without one.
        summary: What came out, in one line.

    Returns:
        What becomes of the challenger: `deploy`, only `register`, or `drop`.
    """
    from components.evaluate.judge import compared, judge
    from core.tracking import record

    with record("evaluate", config, summary.path) as run:
        verdict = judge(run, table.path, model.path, metrics.path, curves.path, evaluation.path, golden.path)
        for name, value in compared(run, verdict).items():
            metrics.log_metric(name, value)
        if verdict.roc:
            curves.log_roc_curve(*verdict.roc)
        if verdict.confusion:
            curves.log_confusion_matrix(*verdict.confusion)
        golden.metadata["judged_against"] = verdict.champion
        return "deploy" if verdict.better else "register" if run.usecase.evaluate.register_anyway else "drop"
