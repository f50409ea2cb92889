"""The training pipeline: from the sources to a served model."""

from contextlib import nullcontext
from typing import Any

from kfp import dsl

from core.config import UseCase
from pipelines.steps import Steps


def training(usecase: UseCase, *, caching: bool = True) -> Any:
    """Build the training pipeline of a use case.

    Args:
        usecase: The use case. Its text is the default of the pipeline's only parameter.
        caching: Whether steps may take their outputs from the cache.
    """
    steps = Steps(usecase, caching=caching)
    register_anyway = usecase.evaluate.register_anyway

    @dsl.pipeline(name=f"{usecase.name}-training", description=usecase.description)  # type: ignore[untyped-decorator]
    def pipeline(config: str = usecase.text) -> None:
        with dsl.ExitHandler(steps.report(config=config), name="train and judge"):
            tables = steps.extract(config=config).outputs["tables"]
            checked = steps.validate(config=config, raw=tables)
            table = steps.transform(config=config, raw=tables).after(checked).outputs["table"]
            trained = steps.train(config=config, table=table)
            judged = steps.evaluate(config=config, table=table, model=trained.outputs["model"])
            verdict = judged.outputs["Output"]
            pages = {
                "validation": checked.outputs["data_report"],
                "trials": trained.outputs["trials"],
                "evaluation": judged.outputs["evaluation"],
            }
            with dsl.If(verdict != "drop", name="register") if register_anyway else dsl.If(verdict == "deploy", name="promote"):
                model, golden = trained.outputs["model"], judged.outputs["golden"]
                if usecase.train.refit == "all":
                    refitted = steps.refit(config=config, table=table, judged=model, rows=golden)
                    model, golden = refitted.outputs["model"], refitted.outputs["golden"]
                version = steps.register(config=config, table=table, model=model, golden=golden).outputs["model_version"]
                with dsl.If(verdict == "deploy", name="promote") if register_anyway else nullcontext():
                    served = steps.deploy(config=config, version=version)
                    if usecase.load:
                        steps.load(config=config, table=table, **pages).after(served).set_display_name("load")
            with dsl.If(verdict != "deploy", name="keep champion"):  # an Else would put both into one more group
                served = steps.serve(config=config)
                if usecase.load:
                    steps.load(config=config, table=table, **pages).after(served).set_display_name("load")

    return pipeline
