"""The Kubeflow face of register."""

from kfp import dsl

from components.step import step


@step
def register(
    config: str,
    table: dsl.Input[dsl.Dataset],
    model: dsl.Input[dsl.Model],
    golden: dsl.Input[dsl.Dataset],
) -> str:
    """Register the challenger.

    Args:
        config: The use case, as YAML text.
        table: The table that transform made: its test rows prove the served form.
        model: The challenger; its metadata name the splits that it has seen.
        golden: Rows and the answers that its served form must repeat; its metadata name the champion that it was judged against.

    Returns:
        The registered version's number.
    """
    from components.register.register import register
    from core.tracking import record

    with record("register", config) as run:
        return register(run, table.path, model.path, golden.path, golden.metadata["judged_against"], model.metadata["seen"])
