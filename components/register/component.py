"""The Kubeflow face of register."""

from typing import NamedTuple

from kfp import dsl

from components.step import step


@step
def register(
    config: str,
    table: dsl.Input[dsl.Dataset],
    model: dsl.Input[dsl.Model],
    golden: dsl.Input[dsl.Dataset],
    registered_model: dsl.Output[dsl.Markdown],
    summary: dsl.Output[dsl.Markdown],
) -> NamedTuple("Outputs", [("model_version", str)]):  # type: ignore[valid-type]
    """Register the challenger.

    Args:
        config: The use case, as YAML text.
        table: The table that transform made: its test rows prove the served form.
        model: The challenger; its metadata name the splits that it has seen.
        golden: Rows and the answers that its served form must repeat; its metadata name the champion that it was judged against.
        registered_model: The version with its page in MLflow; its metadata have version, digest, engine and hash of the data.
        summary: What came out, in one line.

    Returns:
        The registered version's number.
    """
    from components.register.register import describe, register
    from core.tracking import record

    with record("register", config, summary.path) as run:
        number = register(run, table.path, model.path, golden.path, golden.metadata["judged_against"], model.metadata["seen"])
        registered_model.metadata.update(describe(run, registered_model.path))
        return (number,)
