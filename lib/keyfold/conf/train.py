"""What is trained and how, and what the page shows of it."""

from typing import Literal

from pydantic import Field

from keyfold.conf.tune import Tune
from keyfold.core.section import Section
from keyfold.models.model import ModelConf


class Train(Section):
    """What is trained, and how."""

    model: ModelConf
    tune: Tune | None = Field(None, description="parameters of the model that trials choose")
    class_weight: Literal["balanced"] | dict[str, float] | None = None
    seed: int = 0
    ranks: int = Field(1, ge=1, description="processes that train a network together, each a Spark task: 1, 2, 3, 4, 6 or 12")
    interface: str | None = Field(None, description="the network interface of the ranks; default: one that all hosts have")
    overfit: bool = Field(False, description="a network learns all rows by heart, down to the floor: where they are all there is")
    tensorboard: bool = Field(False, description="write a network's losses and parameters by epoch for TensorBoard, too")
    memory_share: float = Field(0.25, gt=0, le=1, description="of the machine's memory, that the rows may take on the driver")
    register_as: str | None = Field(None, description="the registered model's name; default: the conf's name")

    @property
    def early(self) -> bool | None:
        """Whether trials that do worse are ended early, as those over one rank are; None where there are no such trials."""
        return self.ranks == 1 if self.tune and self.model.torch else None

    @property
    def together(self) -> int | None:
        """How many trials are chosen together, where a choice depends on the trials before."""
        return self.tune.parallel if self.tune and self.tune.search == "tpe" else None
