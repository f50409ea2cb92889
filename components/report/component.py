"""The Kubeflow face of report."""

from kfp import dsl

from components.step import step


@step
def report(config: str, status: dsl.PipelineTaskFinalStatus, page: dsl.Output[dsl.HTML]) -> None:
    """Write the run's report and end its MLflow run, also when a step failed.

    Args:
        config: The use case, as YAML text.
        status: How the run ended. Only FAILED means failure: a closed gate says RUNNING on a cluster.
        page: The report.
    """
    from components.report.report import report

    report(config, status.state == "FAILED", page.path)
