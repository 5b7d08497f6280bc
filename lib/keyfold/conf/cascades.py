"""What a cascade needs of the other sections, and what it cannot be combined with."""

from collections.abc import Iterator, Mapping, Sequence

from keyfold.conf.label import LabelConf
from keyfold.conf.report import Report
from keyfold.conf.score import Score
from keyfold.conf.split import Split
from keyfold.conf.train import Train
from keyfold.errors import ConfError, suggestion
from keyfold.evaluation.thresholds import UNTUNED
from keyfold.features.kind import FeatureInput, Kind
from keyfold.features.kinds.found import Found
from keyfold.models.cascade import STAGE
from keyfold.models.section import CascadeConf

_DECIDES = f"the stages of a cascade decide at a probability of {UNTUNED}"
_VALIDATION = "the validation fold finds the exits of a cascade"


def check_cascade(
    train: Train | None, label: LabelConf | None, split: Split, kinds: Mapping[str, Kind], score: Score, report: Report,
    key: Sequence[str],
) -> None:  # fmt: skip
    """Raises ConfError, which lists all faults, unless a cascade can be trained with the other sections of the conf.

    kinds: the features by name. key: the columns of data.key.
    """
    if not train or not (cascade := train.model.cascade):
        return
    faults = [*_of_features(cascade, kinds), *_of_label(label), *_of_split(split), *_of_others(train, score, report)]
    if any(name.casefold() == STAGE for name in key):
        faults.append(f"data.key: `{STAGE}` is a column of the predictions of a cascade; rename yours")
    if faults:
        raise ConfError("; ".join(faults))


def _of_features(cascade: CascadeConf, kinds: Mapping[str, Kind]) -> Iterator[str]:
    named = [(path, stage, name) for path, stage in cascade.stages.items() for name in stage.names]
    for path, stage, name in named:
        option = f"train.model.cascade.stages.{path}.{'rules' if stage.rules else 'features'}"
        if name not in kinds:
            yield f"{option}: there is no feature `{name}`{suggestion(name, kinds)}"
        elif stage.rules and not isinstance(kinds[name], Found):
            yield f"{option} are of features of the kind `found`, and `{name}` is of another; take a model"
    taken = {column.feature for kind in kinds.values() for column in kind.inputs() if isinstance(column, FeatureInput)}
    if unused := [name for name in kinds if name not in taken.union(name for _, _, name in named)]:
        yield f"features.{unused[0]}: no stage of train.model.cascade takes it; name it in one, or leave it out"


def _of_label(label: "LabelConf | None") -> Iterator[str]:
    if label is None:
        return
    if label.several or label.bands or label.of_numbers:
        yield "train.model.cascade predicts one of some classes, and this label is of another kind; take another model"
    if label.threshold != UNTUNED:
        yield f"label.threshold: {_DECIDES}; leave it out"
    if label.calibrate:
        yield f"label.calibrate changes probabilities, and {_DECIDES}; leave it out"


def _of_split(split: Split) -> Iterator[str]:
    if split.lacks_validation:
        yield f"{_VALIDATION}, and {split.lacks_validation}"
    if split.folds:
        yield f"split.folds: {_VALIDATION}, and is one of the parts that are held out; leave it out"


def _of_others(train: Train, score: Score, report: Report) -> Iterator[str]:
    if train.tune:
        yield f"train.tune: {_VALIDATION}, and so cannot measure trials; leave it out"
    for option, ways in {"train.rebalance": train.rebalance, "report.rebalance": report.rebalance}.items():
        if ways:
            yield f"{option} changes probabilities, and {_DECIDES}; leave it out"
    if score.reasons:
        yield "score.reasons needs all features of a row, and a cascade computes those that it needs; leave it out"
    if report.without:
        yield "report.without: each stage of a cascade names its features; leave it out"
