"""The section `train`: the model and its training."""

from typing import Self

from pydantic import Field, model_validator

from keyfold.conf.rebalance import Rebalance
from keyfold.conf.tune import Tune, default_metric
from keyfold.core.section import Section
from keyfold.evaluation.metrics import MetricName
from keyfold.models.member_checks import TRAINED, check_members
from keyfold.models.section import ModelConf, Name


class Train(Section):
    """The model and its training."""

    single: ModelConf | None = Field(
        None, alias="model", exclude_if=lambda model: model is None, description="The model to train. Default: one of `models`."
    )
    models: dict[Name, ModelConf] | None = Field(
        None,
        min_length=2,
        exclude_if=lambda models: models is None,
        examples=[
            {
                "linear": {"sklearn": {"estimator": "sklearn.linear_model.LogisticRegression"}},
                "trees": {"sklearn": {"estimator": "sklearn.ensemble.HistGradientBoostingClassifier"}},
            }
        ],
        description="Candidates by name, in place of `model`: all are trained, and the best on the validation fold, or by "
        "cross-validation (`split.folds`), is the model. The report compares them on the test fold.",
    )
    choose_by: MetricName | None = Field(
        None,
        exclude_if=lambda metric: metric is None,
        description="Metric that chooses among `models`. Default: `log_loss` for classes, `rmse` for numbers.",
    )
    tune: Tune | None = Field(None, description="Search for the model's parameters. Default: none; they are as given in `model`.")
    rebalance: Rebalance | None = Field(
        None, examples=[{"majority": 0.1}], description="Balances classes in training. Default: none; all rows count once."
    )
    seed: int = Field(0, description="Random seed of the training.")
    ranks: int = Field(1, ge=1, description="Number of processes that train a network together: 1, 2, 3, 4, 6 or 12.")
    interface: str | None = Field(
        None, examples=["eth0"], description="Network interface of the ranks. Default: one that all hosts have."
    )
    overfit: bool = Field(
        False,
        description="Whether a network must memorize all rows, down to the lowest loss they allow; for data that is complete.",
    )
    tensorboard: bool = Field(
        False, description="Whether a network's losses and parameters are written for TensorBoard after each epoch."
    )
    memory_share: float = Field(
        0.25,
        gt=0,
        le=1,
        description="Share of the driver machine's memory for the training rows; a sample is trained on if they need more.",
    )
    register_as: str | None = Field(None, description="Name of the registered model. Default: the conf's name.")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.single is None) == (self.models is None):
            raise ValueError(f"must have either `model` or `models` (got {'both' if self.models else 'neither'})")
        if self.single and self.single.registered:
            raise ValueError(f"model: {TRAINED}")
        if self.choose_by and not self.models:
            raise ValueError("`choose_by` chooses among `models`; leave it out")
        if self.models:
            self._check_candidates(self.models)
        return self

    def _check_candidates(self, models: dict[str, ModelConf]) -> None:
        if self.tune:
            raise ValueError(
                "`tune` searches the parameters of one model: write `model` with one of the candidates in place of `models`, or leave "
                "out `tune` and write each setting as a candidate of its own"
            )
        check_members({f"models.{name}": model for name, model in models.items()}, "candidates")

    @property
    def candidates(self) -> dict[str, ModelConf]:
        """The model by its path below the section, or several of which one is chosen."""
        return {"model": self.single} if self.single else {f"models.{name}": one for name, one in (self.models or {}).items()}

    @property
    def model(self) -> ModelConf:
        """The model; of several candidates the first, which predicts the same kind of label as the others."""
        return next(iter(self.candidates.values()))

    @property
    def metric_of_choice(self) -> str:
        """The metric that chooses among the candidates."""
        return self.choose_by or default_metric(self.model)

    @property
    def stacks(self) -> bool:
        """Whether a model has members that predict parts of the rows after a fit on the others."""
        return any(model.stacks for model in self.candidates.values())

    def with_model(self, model: ModelConf) -> Self:
        """The section with another model in place of its own, or of the candidates."""
        return self.model_copy(update={"single": model, "models": None, "choose_by": None})

    @property
    def prunes_trials(self) -> bool | None:
        """Whether unpromising trials end early (those on one rank do); None if no network is tuned."""
        return self.ranks == 1 if self.tune and self.model.torch else None

    @property
    def trials_at_once(self) -> int | None:
        """Number of trials whose parameters are chosen together; None unless the choice depends on earlier trials."""
        return self.tune.parallel if self.tune and self.tune.search == "tpe" else None
