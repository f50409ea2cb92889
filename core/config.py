"""The use case: what a data scientist says, once, in `usecases/<name>/config.yaml`."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PrivateAttr, field_validator, model_validator

from core.contract import Contract
from core.frozen import Bytes, Float, Frozen, Identifier, Int, pattern
from core.metrics import METRICS
from core.resources import LEAST, count
from core.sources import Source
from core.targets import Loads

Task = Literal["binary", "multiclass", "regression"]
StepName = Literal["extract", "validate", "transform", "train", "evaluate", "register", "deploy", "serve", "load", "report"]
NAME_PATTERN = r"^[a-z]{1}([a-z0-9-]{0,39}[a-z0-9])?$"  # a DNS label, with room for what is put behind it
Name = Annotated[str, pattern(NAME_PATTERN, "write at most 41 lower-case letters, digits and dashes, a letter first, no dash last")]
# Names of the platform's own objects in the namespace of the models, where a Service, an account and a policy are named after a use case.
RESERVED = ("clients", "default", "default-deny", "grpc", "ingress", "model", "models", "object-storage", "prometheus")


def _not_reserved(name: str) -> str:
    if name in RESERVED:
        raise ValueError(f"an object of the platform is called {name}: choose another name, for its folder, too")
    return name


UsecaseName = Annotated[Name, AfterValidator(_not_reserved)]
Integers = tuple[Int, Int]
Floats = tuple[Float, Float]  # named here: in Range, int and float are keys
Fraction = Annotated[Float, Field(gt=0, lt=1)]
Share = Annotated[Float, Field(gt=0, le=1)]
# Quantities of Kubernetes, none of them nothing; a number in the file is as good as its text
CPU_PATTERN = r"^([1-9][0-9]*(m|\.[0-9]+)?|0\.[0-9]*[1-9][0-9]*)$"
Cpu = Annotated[str, pattern(CPU_PATTERN, "write cores such as 2 or 0.5, or thousandths such as 500m"), Field(coerce_numbers_to_str=True)]
Memory = Annotated[str, pattern(r"^[1-9][0-9]*(Mi|Gi)$", "write a size such as 512Mi or 2Gi")]


class Features(Frozen):
    """The columns of the table of `features()` that the model sees, in the order of the served model's inputs."""

    numeric: tuple[str, ...] = Field(default=(), description="Columns of numbers; a value may be missing.")
    categorical: tuple[str, ...] = Field(default=(), description="Columns of text; a value may be missing, or one that training never saw.")

    @property
    def names(self) -> tuple[str, ...]:
        """All of them: first the numeric, then the categorical."""
        return self.numeric + self.categorical


class Split(Frozen):
    """Which rows the model learns from; what is left is the test set."""

    by: Literal["time", "group", "random"] = Field(
        description="time: the newest rows are the test set. group: all rows of one customer, patient, ... stay together. random: by a hash of `key`."
    )
    column: str | None = Field(
        default=None, description="The column of `features()` that orders the rows (time) or names the group (group). Not for random: see `key`."
    )
    seed: Int = Field(default=0, ge=0, lt=2**32, description="Seed of the split by group or at random. `train.seed` never moves a row.")
    stratify: bool = Field(default=False, description="Keep the shares within each class of the target; only at random.")
    train: Fraction = Field(default=0.6, description="Share of rows to learn from.")
    validation: Fraction = Field(default=0.2, description="Share of rows to choose the best candidate by.")


class Range(Frozen):
    """Where the search looks for one parameter: exactly one of `int`, `float` and `choice`."""

    int: Integers | None = Field(default=None, description="Least and greatest whole number.")
    float: Floats | None = Field(default=None, description="Least and greatest number.")
    choice: tuple[Any, ...] | None = Field(default=None, min_length=1, description="The values to choose from.")
    log: bool = Field(default=False, description="Search `int` or `float` on a logarithmic scale.")

    @model_validator(mode="after")
    def _one_kind(self) -> "Range":
        given = [kind for kind in ("int", "float", "choice") if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError("write exactly one of int: [low, high], float: [low, high], choice: [a, b, ...]")
        bounds = self.int or self.float
        if bounds and bounds[0] >= bounds[1]:
            raise ValueError(f"the first bound must be below the second, not {bounds[0]} and {bounds[1]}")
        if self.log and (not bounds or bounds[0] <= 0):
            raise ValueError("log: true needs int or float bounds above 0")
        return self


class Preprocessing(Frozen):
    """How the pipeline prepares the columns, fitted on the same rows as the model."""

    numeric: Literal["standard", "passthrough"] = Field(
        default="standard", description="standard: median for missing values, then zero mean, unit variance."
    )
    categorical: Literal["onehot", "ordinal"] = Field(
        default="onehot",
        description="onehot: a column a category. ordinal: a number a category, for trees; HistGradientBoosting splits on them by itself.",
    )


# Constraints on the columns, as scikit-learn and LightGBM name them
MONOTONIC = ("monotonic_cst", "monotone_constraints", "monotone_constraint", "mc")


class Candidate(Frozen):
    """A kind of model that the search may choose."""

    estimator: str = Field(description="Import path of a scikit-learn estimator.", examples=["sklearn.linear_model.LogisticRegression"])
    preprocessing: Preprocessing = Preprocessing()
    parameters: dict[str, Any] = Field(default={}, description="Fixed parameters of the estimator.")
    search: dict[str, Range] = Field(default={}, description="Parameters that the search chooses.")


class Train(Frozen):
    """The search for the best candidate on the validation rows."""

    seed: Int = Field(default=0, ge=0, lt=2**32, description="Of everything that is drawn at random.")
    max_trials: Int = Field(default=10, ge=1, description="How many models are tried; each candidate at least once.")
    sample_rows: Int | None = Field(
        default=None, ge=1, description="Maximum number of training rows of a trial. The best candidate is then fitted on all rows of `refit`."
    )
    max_rows: Int | Literal["fit"] | None = Field(
        default=None, description="Maximum number of rows of a fit, sampled with `seed`; fit: as many as the memory holds."
    )
    refit: Literal["train+validation", "all", "none"] = Field(
        default="train+validation",
        description="On which rows the best candidate is fitted after the search. That model is judged on the test rows and served. none: on the "
        "training rows alone. all: judged as with train+validation, and after the verdict fitted on all rows, the test rows too.",
    )
    candidates: dict[Name, Candidate] = Field(min_length=1, description="Kinds of model that the search may choose, by a name of yours.")

    @property
    def fitted_on(self) -> str:
        """The splits whose rows the judged model is fitted on, as `core.tables.splits` reads them."""
        return "train" if self.refit == "none" else "train+validation"

    @field_validator("max_rows", mode="before")
    @classmethod
    def _rows_or_fit(cls, given: Any) -> Any:
        if given in (None, "fit") or (type(given) is int and given > 0):
            return given
        raise ValueError("write a number of rows above 0, or fit")


class Evaluate(Frozen):
    """What a challenger must show on the test rows."""

    baseline: str | None = Field(
        default=None,
        description="A column of `features()` that predicts the target without a model, such as its last known value: a first champion must beat "
        "it. Numbers for a regression, else classes or, for a binary target, probabilities of the positive class. `null`: there is none.",
    )
    floor: Float = Field(description="What a first champion must reach: the least metric, or the greatest of an error such as mae.")
    min_improvement: Float = Field(
        default=0.0,
        description="How much better than the champion, at least, the whole interval must be. Below 0: how much worse it may be at most "
        "(non-inferiority). A first champion must always be better than the dummy.",
    )
    register_anyway: bool = Field(
        default=False, description="Register also a challenger that lost. It serves only after `mlops deploy NAME VERSION --reason ...`."
    )
    confidence: Fraction = Field(default=0.95, description="Of the interval.")
    min_rows: Int = Field(
        default=30,
        ge=1,
        description="Test rows that neither challenger nor champion was fitted on: with fewer there is no verdict, the champion stays.",
    )
    bootstrap: Int = Field(default=500, ge=100, le=100_000, description="How many resamples of the test rows the interval is made from.")
    slices: tuple[str, ...] = Field(default=(), description="Features by whose values the metric is shown.")


class Step(Frozen):
    """What the pod of one step may use on a cluster."""

    cpu: Cpu = Field(default="1", description="Cores, such as 2 or 500m; if not named, transform and train have 2, deploy, serve and report 500m.")
    memory: Memory = Field(
        default="1Gi",
        description="Such as 512Mi; if not named, train has 4Gi, validate, transform, evaluate and load 2Gi, deploy, serve and report 512Mi.",
    )
    minutes: Int = Field(default=60, ge=1, description="Minutes after which it is stopped; if not named, train has 240.")
    gpus: Int = Field(default=0, ge=0, description="How many GPUs the pod gets. The image needs an estimator that uses them.")
    gpu: Annotated[str, pattern(r"^[a-z0-9.-]+/[A-Za-z0-9._-]+$", "write a resource of Kubernetes such as nvidia.com/gpu")] = Field(
        default="nvidia.com/gpu", description="The resource by which the cluster counts them."
    )


STEPS: dict[StepName, Step] = {  # in the order of the pipeline
    "extract": Step(),
    "validate": Step(memory="2Gi"),
    "transform": Step(cpu="2", memory="2Gi"),
    "train": Step(cpu="2", memory="4Gi", minutes=240),
    "evaluate": Step(memory="2Gi"),
    "register": Step(),
    "deploy": Step(cpu="500m", memory="512Mi"),
    "serve": Step(cpu="500m", memory="512Mi"),
    "load": Step(memory="2Gi"),
    "report": Step(cpu="500m", memory="512Mi"),
}


LIMITED_AS = {"refit": "train"}  # steps without limits of their own, and whose they have


class Limits(Frozen):
    """What a step may use."""

    memory: Bytes = Field(default="1GB", description="DuckDB's memory limit.")
    requests: Share = Field(
        default=0.25,
        description="Share of its limits that the pod of a step requests, such as 0.5 where a LimitRange allows a ratio of 2. Memory: at least "
        "256Mi, or the limit if that is less.",
    )
    steps: dict[StepName, Step] = Field(default=STEPS, description="What the pod of a step may use on a cluster, by the step's name.")

    @field_validator("steps", mode="before")
    @classmethod
    def _completed(cls, given: Any) -> Any:
        """Let a step of which one limit is named keep the others."""
        if not isinstance(given, dict):
            return given
        usual: dict[str, Any] = {name: step.model_dump() for name, step in STEPS.items()}
        return usual | {name: usual.get(name, {}) | limits if isinstance(limits, dict) else limits for name, limits in given.items()}


class Spark(Frozen):
    """Spark for transform, instead of DuckDB: the same table, for raw tables beyond what one DuckDB takes."""

    master: Annotated[str, pattern(r"^(k8s|local\[([1-9][0-9]*|\*)\])$", "write k8s, local[2] or local[*]")] = Field(
        default="local[2]",
        description="Where it runs: `local[2]` is the machine or pod of the step, two cores; `k8s` starts executors as pods.",
    )
    memory: Bytes = Field(default="1GB", description="Of Spark's own heap, and on `k8s` of each executor's, too.")
    executors: Int = Field(default=2, ge=1, le=1000, description="Pods on `k8s`.")
    cores: Int = Field(default=1, ge=1, le=64, description="Of each executor.")

    @property
    def on_cluster(self) -> bool:
        """Whether its executors are pods."""
        return self.master == "k8s"

    @property
    def heap(self) -> str:
        """The memory as Java writes it."""
        return f"{count(self.memory) // 2**20}m"


class Serving(Frozen):
    """What one model server may use on a cluster, and how much of what it answers is kept."""

    cpu: Cpu = Field(default="1", description="Cores, such as 1 or 500m.")
    memory: Memory = Field(default="512Mi", description="Memory, such as 512Mi: at least 256Mi.")
    requests: Share = Field(default=0.1, description="Share of both that a server requests; of memory at least 256Mi.")
    log_predictions: Float = Field(default=0.0, ge=0, le=1, description="Share of requests whose rows and answers go to s3://predictions, 0 to 1.")
    keep_alive: Int = Field(
        default=75, ge=1, le=3600, description="Seconds that an idle connection stays open: more than your load balancer keeps it."
    )
    cors: tuple[Annotated[str, pattern(r"^(\*|https?://[^/\s,]+)$", "write an origin such as https://app.example.com, or *")], ...] = Field(
        default=(), description="Web pages that may send requests, such as [https://app.example.com], or [`*`] for all."
    )

    @field_validator("memory")
    @classmethod
    def _suffices(cls, memory: str) -> str:
        if count(memory) < count(LEAST):
            raise ValueError(f"a model server needs at least {LEAST}")
        return memory

    @property
    def variables(self) -> dict[str, str]:
        """The settings of a server, as it reads them from its environment."""
        return {
            "PREDICTION_LOG": f"{self.log_predictions:g}",
            "KEEP_ALIVE_SECONDS": str(self.keep_alive),
            "CORS_ORIGINS": " ".join(self.cors),
        }


class UseCase(Frozen):
    """A use case: sources in, a judged and served model out."""

    name: UsecaseName = Field(description="The name of its folder, its MLflow experiment, its registered model and its Service.")
    description: str = Field(description="One sentence: the question that the model answers.")
    task: Task = Field(description="What kind of answer.")
    target: Identifier = Field(description="The column of `features()` that is to be predicted.")
    positive: bool | int | float | str | None = Field(
        default=None,
        description="The class of a binary target whose probability, F1 and average precision are meant; may be left out if the classes are "
        "true and false, or 1 and 0.",
    )
    key: tuple[str, ...] | Literal["all"] | None = Field(
        default=None,
        description="Columns of `features()` that identify a row, as a list. `all`: all columns, if no two rows are equal. Required for a split at "
        "random. Whether a row is for training or for the test depends on its key and `split.seed` alone.",
    )
    metric: Literal[tuple(METRICS)] = Field(description="By which candidates are chosen and the verdict is given.")  # type: ignore[valid-type]
    sources: dict[Identifier, Source] = Field(
        min_length=1, description="Each an address or a path beside the config; or a mapping with its `kind`, see below."
    )
    contract: dict[str, Contract] = Field(description="What each source promises, by its name.")
    features: Features
    split: Split
    train: Train
    evaluate: Evaluate
    load: Loads = Field(default=(), description="Where the results go, besides MLflow.")
    limits: Limits = Limits()
    spark: Spark | None = Field(default=None, description="Run transform on Spark instead of DuckDB; an empty mapping is enough: `{}`.")
    serving: Serving = Serving()
    _text: str = PrivateAttr(default="")

    @property
    def text(self) -> str:
        """The config as it was written, which is the pipeline's parameter; empty if it was made in another way."""
        return self._text

    def with_text(self, text: str) -> "UseCase":
        """Return a copy that knows the text that it was read from."""
        copy = self.model_copy()
        copy._text = text
        return copy

    @field_validator("key", mode="before")
    @classmethod
    def _columns_or_all(cls, key: Any) -> Any:
        if key in (None, "all") or (isinstance(key, list | tuple) and key and all(isinstance(name, str) for name in key)):
            return key
        raise ValueError("write a list of columns, such as [id], or all")

    @property
    def greater_is_better(self) -> bool:
        """Whether a greater value of the metric is the better one."""
        return METRICS[self.metric].greater_is_better

    @property
    def lacks_baseline(self) -> bool:
        """Whether the config should name a baseline and does not: the past usually predicts the future better than a constant does."""
        return self.split.by == "time" and "baseline" not in self.evaluate.model_fields_set

    @property
    def positive_name(self) -> str:
        """What the positive class is called in titles: `bad`, `risk=2`, or the target's name where the class is true or 1 by default."""
        if self.positive is None:
            return self.target
        return self.positive if isinstance(self.positive, str) else f"{self.target}={str(self.positive).lower()}"

    def title(self, metric: str | None = None) -> str:
        """Return the title of a metric, by default of the use case's: `average precision of bad` where it is of one class."""
        chosen = METRICS[metric or self.metric]
        return f"{chosen.title} of {self.positive_name}" if self.task == "binary" and chosen.of_positive else chosen.title
