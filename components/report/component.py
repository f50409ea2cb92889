"""The Kubeflow face of report."""

from kfp import dsl

from components.step import step


@step
def report(config: str, status: dsl.PipelineTaskFinalStatus, run_report: dsl.Output[dsl.HTML]) -> None:
    """Write the run's report and end its MLflow run, even if a step failed.

    Args:
        config: The use case, as YAML text.
        status: How the run ended. RUNNING is no verdict (a closed gate, a pod that was killed whole): MLflow then tells.
        run_report: The report.
    """
    from components.report.report import report

    report(config, status.state == "FAILED", run_report.path)
