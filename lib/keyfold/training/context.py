"""What the steps of one training share."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from keyfold.conf.label import LabelConf
from keyfold.conf.train import Train
from keyfold.dataset.labelled_rows import LabelledRows
from keyfold.features.spec import Spec
from keyfold.models.cascade_fit import check_classes
from keyfold.models.heads import Head
from keyfold.models.prior import PriorCorrection
from keyfold.training.arrays import identifying_columns, sample_share
from keyfold.training.importance import metric_of
from keyfold.training.rebalancing import class_names, network_weights
from keyfold.training.registered import join_members, member_pins
from keyfold.training.warm_start import StartParameters, find_start

if TYPE_CHECKING:
    from keyfold.runtime.account import Job
    from keyfold.runtime.run import Run


@dataclass(frozen=True)
class TrainingContext:
    """The run and its job, the fitted spec (with the features of registered members), the labelled rows, and the parameters to start from, if the conf names any."""

    run: "Run"
    job: "Job"
    spec: Spec
    rows: LabelledRows
    warm_start: StartParameters | None = None

    @classmethod
    def of(cls, run: "Run", job: "Job", spec: Spec, rows: LabelledRows) -> "TrainingContext":
        """The context of a job, which gets its run id from it. Only the job `train` starts from other parameters.

        Raises ConfError or DataError if the start is missing, DataError or PromiseError as `join_members`, ConfError as `check_label`.
        """
        assert run.conf.train is not None
        network = run.conf.train.model.torch
        warm_start = find_start(network.start) if job.name == "train" and network and network.start else None
        context = cls(run, job, join_members(run, spec, rows), rows, warm_start)
        context.check_label()
        job.run_id = run.identity(job.name, **context.pins)
        return context

    def check_label(self) -> None:
        """Raises ConfError or DataError if `train` or `report` has an option that does not suit the kind of the label."""
        if self.train.rebalance:
            class_names(self.rows.label)
        if importance := self.run.conf.report.importance:
            metric_of(importance, self.rows.label)
        if cascade := self.train.model.cascade:
            check_classes(cascade.named_classes, self.rows.label)
        if network := self.train.model.torch:
            network.network.check_units(self.head.units)

    @property
    def pins(self) -> dict[str, Any]:
        """Inputs that the run id pins besides the conf."""
        train = self.train
        return self.rows.pins(self.run) | {
            "spec": self.spec.digest,
            "sampled": sample_share(train, self.spec, self.rows),
            "early": train.prunes_trials,
            "together": train.trials_at_once,
            "start": self.warm_start.digest if self.warm_start else member_pins(self.spec),  # a network has no members
        }

    @property
    def run_id(self) -> str:
        """The run id of the job; checkpoints and trials are kept under it."""
        return self.job.run_id

    @property
    def train(self) -> Train:
        """The section `train` of the conf."""
        assert self.run.conf.train is not None
        return self.run.conf.train

    @property
    def label(self) -> LabelConf:
        """The section `label` of the conf."""
        assert self.run.conf.label is not None
        return self.run.conf.label

    @property
    def key(self) -> list[str]:
        """The columns that identify a row: the key, and data.time."""
        return identifying_columns(self.run.conf.data)

    @property
    def head(self) -> Head:
        """The last layer of a network for the label."""
        return Head.of(self.rows.label)

    @cached_property
    def class_weights(self) -> tuple[float, ...] | None:
        """Weights of the classes for a network in the order of codes, None without any (ConfError if the conf names other classes)."""
        return network_weights(self.train, self.rows)

    @property
    def network_prior(self) -> PriorCorrection | None:
        """The correction of a network's probabilities for `class_weights`; None without any."""
        corrects = self.class_weights and self.train.rebalance and self.train.rebalance.correct
        return PriorCorrection.from_json(1 / np.array(self.class_weights)) if corrects else None
