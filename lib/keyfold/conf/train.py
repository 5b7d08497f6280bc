"""The section `train`: the model and its training."""

from pydantic import Field

from keyfold.conf.rebalance import Rebalance
from keyfold.conf.tune import Tune
from keyfold.core.section import Section
from keyfold.models.section import ModelConf


class Train(Section):
    """The model and its training."""

    model: ModelConf = Field(description="The model to train.")
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

    @property
    def prunes_trials(self) -> bool | None:
        """Whether unpromising trials end early (those on one rank do); None if no network is tuned."""
        return self.ranks == 1 if self.tune and self.model.torch else None

    @property
    def trials_at_once(self) -> int | None:
        """Number of trials whose parameters are chosen together; None unless the choice depends on earlier trials."""
        return self.tune.parallel if self.tune and self.tune.search == "tpe" else None
