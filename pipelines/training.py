"""The training pipeline: from the sources to a served model."""

from typing import Any

from kfp import dsl

from core.config import UseCase
from pipelines.steps import deploy, evaluate, extract, register, report, train, transform, validate


def training(usecase: UseCase, document: dict[str, Any]) -> Any:
    """Build the training pipeline of a use case.

    Args:
        usecase: The use case.
        document: Its config, the default of the pipeline's only parameter.
    """

    @dsl.pipeline(name=f"{usecase.name}-training", description=usecase.description)  # type: ignore[untyped-decorator]
    def pipeline(config: dict = document) -> None:  # type: ignore[type-arg]
        with dsl.ExitHandler(report(config=config), name="training"):
            tables = extract(config=config)
            checked = validate(config=config, raw=tables.output)
            table = transform(config=config, raw=tables.output).after(checked)
            model = train(config=config, table=table.output)
            verdict = evaluate(config=config, table=table.output, model=model.outputs["model"])
            with dsl.If(verdict.outputs["Output"] == True, name="better-than-champion"):  # noqa: E712  (kfp reads the comparison)
                version = register(config=config, model=model.outputs["model"], golden=verdict.outputs["golden"])
                deploy(config=config, version=version.output)

    return pipeline
