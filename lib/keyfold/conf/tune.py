"""The section `train.tune`: the search for the model's parameters."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationError, model_validator

from keyfold.conf import messages
from keyfold.conf.yaml import set_path
from keyfold.core.section import Section
from keyfold.errors import ConfError
from keyfold.evaluation.metrics import BINARY, LOSS, NUMBER, MetricName, names_for
from keyfold.models.section import ModelConf
from keyfold.models.torch import STREAMS, rows_per_stream

if TYPE_CHECKING:
    from keyfold.conf.train import Train

TRIALS = 20


class Range(Section):
    """A range of numbers; of whole numbers if both ends are whole."""

    low: int | float = Field(allow_inf_nan=False, description="Lower end, included.")
    high: int | float = Field(allow_inf_nan=False, description="Upper end, included.")
    log: bool = Field(False, description="Whether numbers are drawn uniformly on a logarithmic scale.")

    @model_validator(mode="after")
    def _is_not_empty(self) -> "Range":
        if self.low >= self.high:
            raise ValueError(f"low must be less than high (got {self.low} and {self.high})")
        if self.log and self.low <= 0:
            raise ValueError(f"low must be more than 0 with log (got {self.low})")
        return self

    @property
    def whole(self) -> bool:
        """Whether it is a range of whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def samples(self) -> list[Any]:
        """Both ends and a number between, whole only if the range is."""
        return [self.low, self.high, (self.low + self.high) // 2 if self.whole else self.low + 0.618 * (self.high - self.low)]

    def distribution(self) -> Any:
        """SciPy's distribution; `value_of` turns its draws into numbers of the range."""
        from scipy import stats

        half = 0.5 if self.whole else 0.0
        if self.log:
            return stats.loguniform(self.low - half, self.high + half)
        return stats.randint(self.low, self.high + 1) if self.whole else stats.uniform(self.low, self.high - self.low)

    def value_of(self, drawn: Any) -> Any:
        """A draw of `distribution` as a number of the range."""
        return min(max(round(float(drawn)), self.low), self.high) if self.whole else float(drawn)


class Tune(Section):
    """Search for the model's parameters by trials, measured on the validation fold or by cross-validation (`split.folds`)."""

    search: Literal["grid", "random", "tpe"] = Field(
        description="Search strategy: all combinations, random ones, or Optuna's tree-structured Parzen estimator."
    )
    over: dict[str, list[Any] | Range] = Field(
        examples=[{"params.C": [0.1, 1, 10]}, {"loop.learning_rate": {"low": 1e-4, "high": 0.1, "log": True}}],
        description="Values or a range by parameter; a parameter is a path below `model.sklearn` or `model.torch`.",
    )
    trials: int | None = Field(None, ge=1, description=f"Number of trials of `random` and `tpe`. Default: {TRIALS}.")
    parallel: int = Field(
        1, ge=1, description="Number of trials at once, each in a process with one thread; for scikit-learn models."
    )
    metric: MetricName | None = Field(
        None,
        description=f"Metric that selects the best trial. Default: `{LOSS[BINARY]}` for classes, `{LOSS[NUMBER]}` for numbers.",
    )

    @model_validator(mode="after")
    def _can_be_searched(self) -> "Tune":
        if not self.over:
            raise ValueError("over must name a parameter, such as `params.C: [0.1, 1]`")
        for path, values in self.over.items():
            if path == "loop.batch_size" and isinstance(values, Range):
                raise ValueError(f"over.{path} must be a list, since a batch must be a multiple of {STREAMS}")
            if values == []:
                raise ValueError(f"over.{path} must have a value")
            if self.search == "grid" and isinstance(values, Range):
                raise ValueError(f"over.{path}: a grid needs a list of values; for a range use `random` or `tpe`")
        if self.search == "grid" and self.trials is not None:
            raise ValueError("a grid tries all combinations; leave out trials")
        return self

    def metric_for(self, model: ModelConf) -> str:
        """The metric that selects the best trial."""
        return self.metric or default_metric(model)

    def points(self, seed: int) -> list[dict[str, Any] | None]:
        """The parameters of each trial, as GridSearchCV or RandomizedSearchCV draw them; None for `tpe`, which chooses them later."""
        from sklearn.model_selection import ParameterGrid, ParameterSampler

        if self.search == "tpe":
            return [None] * (self.trials or TRIALS)
        if self.search == "grid":
            return list(ParameterGrid(self.over))
        ranges = {path: values for path, values in self.over.items() if isinstance(values, Range)}
        space = {path: ranges[path].distribution() if path in ranges else values for path, values in self.over.items()}
        with warnings.catch_warnings(action="ignore"):  # fewer combinations than trials
            draws = list(ParameterSampler(space, self.trials or TRIALS, random_state=seed % 2**32))
        return [{path: ranges[path].value_of(x) if path in ranges else x for path, x in draw.items()} for draw in draws]


def default_metric(model: ModelConf) -> str:
    """The metric that selects a model of this kind, unless the conf names one."""
    return LOSS[BINARY if model.chosen.classifies else NUMBER]


def metric_faults(option: str, metric: str | None, model: ModelConf, kinds: Sequence[str]) -> Iterator[str]:
    """A sentence if no label of the model has the metric of an option; kinds: those that the label of a classifier may have."""
    if metric is None:
        return
    names = list(dict.fromkeys(name for kind in (kinds if model.chosen.classifies else (NUMBER,)) for name in names_for(kind)))
    if metric not in names:
        quoted = messages.joined_by_or(f"`{name}`" for name in names)
        yield f"{option} must be {quoted} with this model (got `{metric}`)"


def with_params(model: ModelConf, params: Mapping[str, Any]) -> ModelConf:
    """The model with other parameters, by their path below its kind; raises ValidationError if one is unknown or invalid."""
    raw = model.model_dump()
    for path, value in params.items():
        set_path(raw, f"{model.choice}.{path}", value)
    return ModelConf.model_validate(raw)


def check_tune(train: "Train | None", kinds: Sequence[str]) -> None:
    """Raises ConfError, which lists all faults, unless the model accepts every value that may be tried, and the label has the metric.

    kinds: those that the label of a classifier may have.
    """
    if train is None or train.tune is None:
        return
    tune, model = train.tune, train.model
    faults = [*metric_faults("train.tune.metric", tune.metric, model, kinds)]
    if tune.parallel > 1 and model.torch:
        faults.append("train.tune.parallel is for scikit-learn models; a network uses all ranks, so leave it out")
    for path, values in tune.over.items():
        sentences = (_fault(model, path, value) for value in (values.samples() if isinstance(values, Range) else values))
        faults += [f"train.tune.over.{path}: {sentence}" for sentence in dict.fromkeys(filter(None, sentences))]
    if faults:
        raise ConfError("; ".join(faults))


def _fault(model: ModelConf, path: str, value: Any) -> str | None:
    """Why a value cannot be tried; None if it can."""
    if model.sklearn and (not path.startswith("params.") or path.count(".") > 1):
        return "a parameter of a scikit-learn model is `params.<name>`"
    try:
        tuned = with_params(model, {path: value})
        if path.startswith("start."):
            return "the start of a network cannot be tuned"
        if tuned.torch:
            rows_per_stream(tuned.torch.loop.batch_size)
            if STREAMS % tuned.torch.loop.accumulate:
                return f"accumulate must divide {STREAMS} (got {tuned.torch.loop.accumulate})"
    except ValidationError as error:
        sentences = [messages.fault_message(fault, ModelConf) for fault in error.errors()]
        return "; ".join(f"train.model.{sentence}" for sentence in sentences if sentence)
    except ConfError as error:
        return str(error)
    same = tuned.chosen.classifies == model.chosen.classifies
    return None if same else f"with {messages.shortened(value)} the model no longer predicts the same kind of label"
