"""Run identity: a digest of everything that a job's values depend on, so that a job knows what was done before.

`JOBS` says which parts of the conf a job may read and what else it pins. Every field of those parts counts, also one that is added
later; what does not count is in `LEFT_OUT`, with the reason.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Any, NamedTuple

from keyfold.core import hashing
from keyfold.core.digests import digest
from keyfold.errors import PromiseError
from keyfold.imaging import pixels

if TYPE_CHECKING:
    from keyfold.conf.use_case import Conf

_ESTIMATORS = ("numpy", "scipy", "scikit-learn")
_NETWORKS = ("torch", "torchvision")


def _learning(conf: "Conf") -> Iterable[str]:
    """Packages on which a model's parameters depend."""
    train = conf.train
    network = train is not None and train.model.torch is not None
    tuned = train is not None and train.tune is not None
    return (*_ESTIMATORS, *_NETWORKS * network, *("optuna",) * tuned, *_pictures(conf))


def _pictures(conf: "Conf") -> Iterable[str]:
    return ("pillow",) if any(feature.name == "image" for feature in conf.features.values()) else ()


class JobInputs(NamedTuple):
    """What a job's values depend on: parts of the conf by path, inputs that the job pins by name, and packages.

    Raise `version` when a release makes other values from the same inputs.
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
    # A cache by period: what it depends on is named one by one, so that nothing else makes it read old periods again.
    "statistics": JobInputs(
        ("data.key", "data.label", "data.time", "data.period", "data.zone"), _pins("table asked folds positive bridge")
    ),
    "bridge": JobInputs(("data", "split"), _pins("rows before folds")),
    "features": JobInputs(("data", "split", "features"), _pins("rows before folds label bridge")),
    "examples": JobInputs(("data", "split", "features"), _pins("rows before folds label bridge spec streams"), _pictures),
    "train": JobInputs(("data", "split", "features", "train", "report"), _LEARNT, _learning),
    "overfit": JobInputs(("data", "split", "features", "train", "report"), _LEARNT, _learning),
    "score": JobInputs(
        ("data", "split", "score"), _pins("rows period folds model"), lambda _: (*_ESTIMATORS, *_NETWORKS, "pillow")
    ),
    "images": JobInputs(("data", "images"), _pins("rows period files"), lambda _: ("pillow",)),
    "embeddings": JobInputs((), _pins("model")),
    "ledger": JobInputs(),
}


class Exclusion(NamedTuple):
    """A field that does not count (`*`: any name or number), why, and for which jobs (none: all); with `whether` it counts that it is set."""

    path: str
    why: str
    jobs: tuple[str, ...] = ()
    whether: bool = False


_ON_ROWS = tuple(job for job, reads in JOBS.items() if "rows" in reads.pins)
_IN_THE_ROWS = "it decided which rows the table has, and the table's id and version are pinned"
_TRAINING = ("train", "overfit")

EXCLUSIONS = (
    Exclusion("data.retention", "how long former rows are kept"),
    Exclusion("data.max_quarantine", "a limit above which nothing is committed; what was committed is within the former one"),
    Exclusion("data.lateness", "it is for the feature table, whose version is pinned"),
    Exclusion("data.views", "their columns go into the feature table, whose version is pinned"),
    *(Exclusion(f"data.{name}", _IN_THE_ROWS, _ON_ROWS) for name in ("source", "columns", "csv", "table")),
    *(Exclusion(f"data.versions.*.{name}", _IN_THE_ROWS, _ON_ROWS) for name in ("files", "delta", "columns")),
    Exclusion("data.label", "rows are kept whatever their label is", ("ingest", "images", "view")),
    Exclusion("data.positive", "rows are kept whatever their label is", ("ingest", "images", "view", "bridge")),
    Exclusion("data.positive", "a prediction is the model's, which is pinned", ("score",)),
    Exclusion("data.versions.*.weight", "a weight is for training", ("ingest", "images", "view", "bridge", "features", "score")),
    Exclusion(
        "data.versions.*.columns_from.*.missing", "what stands in is put in when rows are read; whether, is counted", ("ingest",)
    ),
    Exclusion("data.versions.*.columns_from", "the stand-ins are pinned", ("images", "view", "features", "examples", *_TRAINING)),
    Exclusion("data.versions.*.columns_from", "the stand-ins are the model's, which is pinned", ("score",)),
    *(
        Exclusion(f"split.{name}", "a gate of training", ("bridge", "features", "examples", "score"))
        for name in ("max_identical", "allow")
    ),
    Exclusion("features", "those that answer are the model's, which is pinned; windows are in the feature table", ("score",)),
    Exclusion("train.model", "it makes a class or a number of the label, which is pinned", ("features",)),
    Exclusion(
        "train.ranks",
        "batches are the same for any number, and parameters agree to about 1e-4; where it ends trials early, that is pinned",
    ),
    Exclusion("train.interface", "the way between hosts"),
    Exclusion("train.tensorboard", "more files about the same training"),
    Exclusion("train.memory_share", "the share of the rows that was taken is pinned, for it depends on the machine too"),
    Exclusion("train.tune.parallel", "points that are known before are tried alike; for tpe it is pinned"),
    Exclusion("train.model.torch.start.model", "the digest of what it begins with is pinned"),
    Exclusion("train.model.torch.start.file", "the digest of what it begins with is pinned"),
    Exclusion("report.collisions", "they are counted when asked for, in a table of their own"),
    Exclusion("score.model", "the version that it stands for is pinned"),
    Exclusion("score.trust", "a permission"),
    Exclusion("score.max_quarantine", "a limit that is compared with the committed rows, too"),
    Exclusion("score.actions", "they are chosen from the committed rows each time"),
    Exclusion("images.max_quarantine", "a limit that is compared with the committed images, too"),
    Exclusion("view.owner", "a remark"),
    Exclusion("view.description", "a remark"),
)


def conf_parts(conf: "Conf", job: str) -> dict[str, Any]:
    """What a job may read of a conf, by path, as JSON."""
    found = {}
    for path in JOBS[job].conf:
        value, left = conf.dumped, _left_out(job)
        for part in path.split("."):
            value, left = None if value is None else value[part], left.get(part, {})
        found[path] = _kept(value, left)
    return found


@cache
def _left_out(job: str) -> dict[str, Any]:
    """The fields that do not count, as nested mappings that end in a LeftOut."""
    tree: dict[str, Any] = {}
    for left in EXCLUSIONS:
        if job in left.jobs or not left.jobs:
            _put(tree, left.path.split("."), left)
    return tree


def _put(tree: dict[str, Any], path: list[str], left: Exclusion) -> None:
    first, *rest = path
    if not rest:
        tree[first] = left
    elif not isinstance(below := tree.setdefault(first, {}), Exclusion):
        _put(below, rest, left)


def _kept(value: Any, left: Mapping[str, Any]) -> Any:
    if not left or not isinstance(value, dict | list):
        return value
    if isinstance(value, list):
        return [_kept(item, left.get("*", {})) for item in value]
    found = {}
    for name, inner in value.items():
        below = left.get(name, left.get("*", {}))
        if not isinstance(below, Exclusion):
            found[name] = _kept(inner, below)
        elif below.whether:
            found[name] = inner is not None
    return found


def run_identity(conf: "Conf", job: str, pinned: Mapping[str, Any]) -> str:
    """The identity of a job with the inputs that it pins (PromiseError where one is forgotten)."""
    reads = JOBS[job]
    if odd := reads.pins ^ pinned.keys():
        raise PromiseError(f"the identity of `{job}` needs {', '.join(sorted(reads.pins))}: look at {', '.join(sorted(odd))}")
    releases = {name: release for name in reads.packages(conf) if (release := _release(name))}
    # Not sorted: the order of features is the order of a model's columns.
    said = json.dumps(conf_parts(conf, job), ensure_ascii=True, allow_nan=False)
    versions = [hashing.CONTRACT, reads.version, releases, pixels.PIXELS_VERSION if "pillow" in releases else None]
    return digest({"job": job, "name": conf.name, "versions": versions, "conf": said, "pinned": dict(pinned)})


@cache
def _release(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
