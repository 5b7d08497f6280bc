"""Run identity: a digest of everything that the results of a job depend on, so that no job is done twice.

`JOBS` lists the parts of the conf that a job may read and the inputs that it pins. Every field of those parts counts, also one
that is added later; `EXCLUSIONS` lists the fields that do not count, with the reasons. A job that is not listed depends on the whole
conf and on the inputs that it names.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from keyfold.core import hashing
from keyfold.core.digests import digest
from keyfold.core.packages import installed_release
from keyfold.errors import PromiseError
from keyfold.imaging import pixels

if TYPE_CHECKING:
    from keyfold.conf.use_case import Conf

_ESTIMATORS = ("numpy", "scipy", "scikit-learn")
_NETWORKS = ("torch", "torchvision")


def _learning(conf: "Conf") -> Iterable[str]:
    """Packages on which the parameters of a model depend."""
    train = conf.train
    network = train is not None and train.model.torch is not None
    tuned = train is not None and train.tune is not None
    smote = any(way.smote for one in (conf, *conf.variants.values()) for way in one.ways_of_rebalancing.values())
    return (*_ESTIMATORS, *_NETWORKS * network, *("optuna",) * tuned, *("imbalanced-learn",) * smote, *_pictures(conf))


def _pictures(conf: "Conf") -> Iterable[str]:
    return ("pillow",) if any(feature.choice == "image" for feature in conf.features.values()) else ()


class JobInputs(NamedTuple):
    """Inputs of a job: parts of the conf by path, inputs that the job pins by name, and packages.

    Raise `version` if a release of keyfold gives other results for the same inputs.
    """

    conf: tuple[str, ...] = ()
    pins: frozenset[str] = frozenset()
    packages: Callable[["Conf"], Iterable[str]] = lambda _: ()
    version: int = 1


def _pins(names: str) -> frozenset[str]:
    return frozenset(names.split())


_LEARNT = _pins("rows before folds label bridge spec sampled start early together")

JOBS: Mapping[str, JobInputs] = {
    "ingest": JobInputs(("data",), _pins("files after again")),
    "view": JobInputs(("data", "view"), _pins("view rows")),
    # A cache by period: its inputs are named one by one, so that no other change makes it read old periods again.
    "statistics": JobInputs(
        ("data.key", "label", "data.time", "data.period", "data.zone"), _pins("table asked folds positive bridge")
    ),
    "bridge": JobInputs(("data", "label", "split"), _pins("rows before folds")),
    "features": JobInputs(("data", "label", "split", "features"), _pins("rows before folds label bridge")),
    "examples": JobInputs(
        ("data", "label", "split", "features"), _pins("rows before folds label bridge spec streams"), _pictures
    ),
    "train": JobInputs(("data", "label", "split", "features", "train", "report", "score.reasons"), _LEARNT, _learning),
    "overfit": JobInputs(("data", "label", "split", "features", "train", "report"), _LEARNT, _learning),
    "score": JobInputs(
        ("data", "label.column", "label.columns", "split", "score"),
        _pins("rows period folds model"),
        lambda _: (*_ESTIMATORS, *_NETWORKS, "pillow"),
    ),
    "images": JobInputs(("data", "images"), _pins("rows period files"), lambda _: ("pillow",)),
    "embeddings": JobInputs((), _pins("model")),
    "ledger": JobInputs(),
}


class Exclusion(NamedTuple):
    """A field that does not count (`*`: any name or number), the reason, and the jobs (none: all).

    whether: only whether the field is set counts.
    """

    path: str
    why: str
    jobs: tuple[str, ...] = ()
    whether: bool = False


_ON_ROWS = tuple(job for job, reads in JOBS.items() if "rows" in reads.pins)
_IN_THE_ROWS = "it determines the rows of the table, whose id and version are pinned"
_TRAINING = ("train", "overfit")
_BEFORE_A_MODEL = ("statistics", "bridge", "features", "examples")

EXCLUSIONS = (
    Exclusion("data.retention", "how long former versions of rows are kept"),
    Exclusion("data.max_quarantine", "a limit above which nothing is committed"),
    Exclusion("data.lateness", "used for the feature table only, whose version is pinned"),
    Exclusion("data.views", "their columns are in the feature table, whose version is pinned"),
    *(Exclusion(f"data.{name}", _IN_THE_ROWS, _ON_ROWS) for name in ("source", "columns", "csv", "table")),
    *(Exclusion(f"data.versions.*.{name}", _IN_THE_ROWS, _ON_ROWS) for name in ("files", "delta", "columns")),
    *(
        Exclusion(f"label.{name}", "how a model answers", _BEFORE_A_MODEL)
        for name in ("take", "interval", "calibrate", "threshold")
    ),
    Exclusion("label", "rows are kept whatever their label; its column must only be there", ("ingest",)),
    Exclusion("label.positive", "imputed values do not depend on the class of a label", ("bridge",)),
    Exclusion(
        "data.versions.*.weight", "weights are for training only", ("ingest", "images", "view", "bridge", "features", "score")
    ),
    Exclusion(
        "data.versions.*.columns_from.*.missing",
        "imputed when rows are learnt from; whether it is set counts",
        ("ingest",),
        whether=True,
    ),
    Exclusion(
        "data.versions.*.columns_from", "the imputed values are pinned", ("images", "view", "features", "examples", *_TRAINING)
    ),
    Exclusion("data.versions.*.columns_from", "the imputed values are those of the model, which is pinned", ("score",)),
    *(
        Exclusion(f"split.{name}", "a leakage gate of training", ("bridge", "features", "examples", "score"))
        for name in ("max_identical", "allow")
    ),
    Exclusion("features", "features are those of the model, which is pinned; windows are in the feature table", ("score",)),
    Exclusion("train.model", "it decides whether the label is a class or a number, which is pinned", ("features",)),
    Exclusion(
        "train.ranks",
        "batches are equal for any number, and parameters agree to about 1e-4; if it affects early ends of trials, it is pinned",
    ),
    Exclusion("train.interface", "the network between hosts"),
    Exclusion("train.tensorboard", "more files about the same training"),
    Exclusion("train.memory_share", "the sampled share of the rows is pinned, since it also depends on the machine"),
    Exclusion("train.tune.parallel", "trials that are known in advance are the same; for tpe it is pinned"),
    Exclusion("train.model.torch.start.model", "the digest of the start parameters is pinned"),
    Exclusion("train.model.torch.start.file", "the digest of the start parameters is pinned"),
    Exclusion("report.collisions", "collisions are counted separately, in a table of their own"),
    Exclusion("score.reasons", "whether a reference is kept for them counts", ("train",), whether=True),
    Exclusion("score.model", "the model version that it names is pinned"),
    Exclusion("score.trust", "a permission"),
    Exclusion("score.max_quarantine", "a limit that committed rows are also checked against"),
    Exclusion("score.actions", "actions are chosen from the committed rows each time"),
    Exclusion("images.max_quarantine", "a limit that committed images are also checked against"),
    Exclusion("view.owner", "a description"),
    Exclusion("view.description", "a description"),
)


def conf_parts(conf: "Conf", job: str) -> dict[str, Any]:
    """The parts of a conf that count for a job, by path, as JSON."""
    parts = {}
    for path in JOBS[job].conf if job in JOBS else conf.dumped:
        value: Any = conf.dumped
        excluded = _excluded(job)
        for name in path.split("."):
            value, excluded = (value or {}).get(name), excluded.get(name, {})
        if not isinstance(excluded, Exclusion):
            parts[path] = _kept(value, excluded)
        elif value is not None:  # only whether it is set counts
            parts[path] = True
    return parts


@cache
def _excluded(job: str) -> dict[str, Any]:
    """The fields that do not count, as nested mappings whose leaves are `Exclusion`s."""
    tree: dict[str, Any] = {}
    for exclusion in EXCLUSIONS:
        if job in exclusion.jobs or not exclusion.jobs:
            _put(tree, exclusion.path.split("."), exclusion)
    return tree


def _put(tree: dict[str, Any], path: list[str], exclusion: Exclusion) -> None:
    first, *rest = path
    if not rest:
        tree[first] = exclusion
    elif not isinstance(below := tree.setdefault(first, {}), Exclusion):
        _put(below, rest, exclusion)


def _kept(value: Any, excluded: Mapping[str, Any]) -> Any:
    """The value without the excluded fields."""
    if not excluded or not isinstance(value, dict | list):
        return value
    if isinstance(value, list):
        return [_kept(item, excluded.get("*", {})) for item in value]
    kept = {}
    for name, inner in value.items():
        below = excluded.get(name, excluded.get("*", {}))
        if not isinstance(below, Exclusion):
            kept[name] = _kept(inner, below)
        elif below.whether:
            kept[name] = inner is not None
    return kept


def run_identity(conf: "Conf", job: str, pinned: Mapping[str, Any]) -> str:
    """Identity of a job with the inputs that it pins (PromiseError if their names are not those in `JOBS`)."""
    reads = JOBS.get(job, JobInputs(pins=frozenset(pinned), packages=_learning))
    if wrong := reads.pins ^ pinned.keys():
        raise PromiseError(f"the identity of `{job}` needs {', '.join(sorted(reads.pins))}: look at {', '.join(sorted(wrong))}")
    releases = {name: release for name in reads.packages(conf) if (release := installed_release(name))}
    # Not sorted: the order of features is the order of a model's columns.
    parts = json.dumps(conf_parts(conf, job), ensure_ascii=True, allow_nan=False)
    versions = [hashing.CONTRACT, reads.version, releases, pixels.PIXELS_VERSION if "pillow" in releases else None]
    return digest({"job": job, "name": conf.name, "versions": versions, "conf": parts, "pinned": dict(pinned)})
