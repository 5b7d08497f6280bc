"""Which parameters of the model are tried: the section of the conf, and that the model can have them."""

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args

from pydantic import Field, ValidationError, model_validator

from keyfold.conf import messages, yaml
from keyfold.core.section import Section
from keyfold.errors import ConfError
from keyfold.models.model import ModelConf
from keyfold.models.torch import STREAMS, rows_per_stream

if TYPE_CHECKING:
    from keyfold.conf.train import Train

ClassMetric = Literal["roc_auc", "pr_auc", "lift_top_decile", "log_loss", "brier"]
NumberMetric = Literal["rmse", "mae", "r2"]
HIGHER = ("roc_auc", "pr_auc", "lift_top_decile", "r2")  # is better; of the others, lower
TRIALS = 20


class Range(Section):
    """Numbers between two ends, whole ones where both ends are."""

    low: int | float = Field(allow_inf_nan=False)
    high: int | float = Field(allow_inf_nan=False)
    log: bool = Field(False, description="as many below the geometric mean of both ends as above it")

    @model_validator(mode="after")
    def _has_an_inside(self) -> "Range":
        if self.low >= self.high:
            raise ValueError(f"low must be less than high (got {self.low} and {self.high})")
        if self.log and self.low <= 0:
            raise ValueError(f"low must be more than 0 with log (got {self.low})")
        return self

    @property
    def whole(self) -> bool:
        """Whether it has whole numbers only."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def some(self) -> list[Any]:
        """Both ends and one between, which is no whole number unless all are."""
        return [self.low, self.high, (self.low + self.high) // 2 if self.whole else self.low + 0.618 * (self.high - self.low)]

    def drawn(self) -> Any:
        """SciPy's distribution, whose draws `plain` brings to what they stand for."""
        from scipy import stats

        half = 0.5 if self.whole else 0.0
        if self.log:
            return stats.loguniform(self.low - half, self.high + half)
        return stats.randint(self.low, self.high + 1) if self.whole else stats.uniform(self.low, self.high - self.low)

    def plain(self, drawn: Any) -> Any:
        """A draw as a number of the range."""
        return min(max(round(float(drawn)), self.low), self.high) if self.whole else float(drawn)


class Tune(Section):
    """How the model's parameters are chosen: by trials on the validation fold, or on the parts of `split.folds`."""

    search: Literal["grid", "random", "tpe"]
    over: dict[str, list[Any] | Range] = Field(description="by their path below the model's kind: values, or a range of numbers")
    trials: int | None = Field(None, ge=1, description=f"how many, where it is no grid; default: {TRIALS}")
    parallel: int = Field(1, ge=1, description="trials at once, each a Spark task, of scikit-learn models")
    metric: ClassMetric | NumberMetric | None = Field(
        None, description="what decides; default: log_loss of classes, rmse of numbers"
    )

    @model_validator(mode="after")
    def _can_be_searched(self) -> "Tune":
        if not self.over:
            raise ValueError("over must name a parameter, such as `params.C: [0.1, 1]`")
        for path, of in self.over.items():
            if path == "loop.batch_size" and isinstance(of, Range):
                raise ValueError(f"over.{path} takes a list, for only multiples of {STREAMS} can be tried")
            if of == []:
                raise ValueError(f"over.{path} must have a value")
            if self.search == "grid" and isinstance(of, Range):
                raise ValueError(f"over.{path}: a grid needs a list of values; for a range take `random` or `tpe`")
        if self.search == "grid" and self.trials is not None:
            raise ValueError("a grid tries all values with all others; leave out trials")
        return self

    def measure(self, model: ModelConf) -> str:
        """The metric that decides."""
        return self.metric or ("log_loss" if model.chosen.classifies else "rmse")

    def points(self, seed: int) -> list[dict[str, Any] | None]:
        """The parameters of each trial in its order, those of GridSearchCV or RandomizedSearchCV; of `tpe` not known before (None)."""
        from sklearn.model_selection import ParameterGrid, ParameterSampler

        if self.search == "tpe":
            return [None] * (self.trials or TRIALS)
        if self.search == "grid":
            return list(ParameterGrid(self.over))
        given = {path: of.drawn() if isinstance(of, Range) else of for path, of in self.over.items()}
        with warnings.catch_warnings(action="ignore"):  # that a list has fewer values than there are trials
            drawn = list(ParameterSampler(given, self.trials or TRIALS, random_state=seed % 2**32))
        ranges = {path: of for path, of in self.over.items() if isinstance(of, Range)}
        return [{path: ranges[path].plain(value) if path in ranges else value for path, value in d.items()} for d in drawn]


def with_params(model: ModelConf, params: Mapping[str, Any]) -> ModelConf:
    """The model with other parameters, by their path below its kind (ValidationError as for a conf)."""
    raw = model.model_dump()
    for path, value in params.items():
        yaml.set_path(raw, f"{'sklearn' if model.sklearn else 'torch'}.{path}", value)
    return ModelConf.model_validate(raw)


def check_tune(train: "Train | None") -> None:
    """That each value that may be tried is one for the model (ConfError, which tells all that are not)."""
    if train is None or train.tune is None:
        return
    tune, model, wrong = train.tune, train.model, []
    names = get_args(ClassMetric if model.chosen.classifies else NumberMetric)
    if tune.metric is not None and tune.metric not in names:
        wrong.append(
            f"train.tune.metric must be {messages.joined_by_or(f'`{name}`' for name in names)} with this model (got `{tune.metric}`)"
        )
    if tune.parallel > 1 and model.torch:
        wrong.append("train.tune.parallel is for scikit-learn models; a network takes all ranks, so leave it out")
    for path, values in tune.over.items():
        tried = (_refused(model, path, value) for value in (values.some() if isinstance(values, Range) else values))
        wrong += [f"train.tune.over.{path}: {sentence}" for sentence in dict.fromkeys(filter(None, tried))]
    if wrong:
        raise ConfError("; ".join(wrong))


def _refused(model: ModelConf, path: str, value: Any) -> str | None:
    """Why a value cannot be tried, None where it can."""
    if model.sklearn and (not path.startswith("params.") or path.count(".") > 1):
        return "of a scikit-learn model name `params.` and a parameter"
    try:
        made = with_params(model, {path: value})
        if path.startswith("start."):
            return "what a network begins with is no parameter of it"
        if made.torch:
            rows_per_stream(made.torch.loop.batch_size)
            if STREAMS % made.torch.loop.accumulate:
                return f"accumulate must divide {STREAMS} (got {made.torch.loop.accumulate})"
    except ValidationError as error:
        said = [messages.fault_message(fault, ModelConf) for fault in error.errors()]
        return "; ".join(f"train.model.{sentence}" for sentence in said if sentence)
    except ConfError as error:
        return str(error)
    same = made.chosen.classifies == model.chosen.classifies
    return None if same else f"with {messages.shortened(value)} the model predicts something else than without"
