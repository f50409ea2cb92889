"""The training pipeline: from the sources to a served model."""

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

    @dsl.pipeline(name=f"{usecase.name}-training", description=usecase.description)  # type: ignore[untyped-decorator]
    def pipeline(config: str = usecase.text) -> None:
        with dsl.ExitHandler(steps.report(config=config), name="training"):
            tables = steps.extract(config=config)
            checked = steps.validate(config=config, raw=tables.output)
            table = steps.transform(config=config, raw=tables.output).after(checked)
            model = steps.train(config=config, table=table.output)
            verdict = steps.evaluate(config=config, table=table.output, model=model.outputs["model"])
            pages = {"validation": checked.outputs["page"], "trials": model.outputs["trials"], "evaluation": verdict.outputs["page"]}
            outcome = verdict.outputs["Output"]
            with dsl.If(outcome != "drop", name="registered"):
                served_model, golden = model.outputs["model"], verdict.outputs["golden"]
                if usecase.train.refit == "all":
                    fitted = steps.refit(config=config, table=table.output, judged=served_model, rows=golden)
                    served_model, golden = fitted.outputs["model"], fitted.outputs["golden"]
                version = steps.register(config=config, table=table.output, model=served_model, golden=golden)
                with dsl.If(outcome == "deploy", name="better-than-champion"):
                    served = steps.deploy(config=config, version=version.output)
                    if usecase.load:
                        steps.load(config=config, table=table.output, **pages).after(served).set_display_name("load")
            with dsl.If(outcome != "deploy", name="champion-stays"):  # an Else would put both into one more group
                served = steps.serve(config=config)
                if usecase.load:
                    steps.load(config=config, table=table.output, **pages).after(served).set_display_name("load")

    return pipeline
