"""Confs that have every field, each field changed, and the identities of jobs before and after."""

import copy
import typing
from functools import cache
from itertools import chain
from types import UnionType

from pydantic import BaseModel

from keyfold.conf.use_case import parse_conf
from keyfold.core.digests import canonical_json
from keyfold.errors import ConfError
from keyfold.generators import GENERATORS
from keyfold.runtime import job_identity
from sections import data_and_label

PINS = {job: dict.fromkeys(reads.pins, "pinned") for job, reads in job_identity.JOBS.items()}
SKLEARN = {"sklearn": {"estimator": "sklearn.linear_model.LogisticRegression", "params": {"C": 1.0}}}
FEATURES = {
    "q": {"bucketized": {"input_col": "x", "num_buckets": 4}},
    "r": {"windowed": {"input_col": "x", "over": "3 days", "take": "share", "value": "a", "by": ["id"]}},
    "b": {"bucketized": {"input_col": "x", "boundaries": [1, 2]}},
    "c": {"crossed": {"input_cols": ["a", {"feature": "q"}], "num_buckets": 4}},
    "d": {"date_parts": {"input_col": "at", "parts": ["month"]}},
    "h": {"hashed": {"input_col": {"feature": "q"}, "num_buckets": 4, "salt": "s"}},
    "l": {"found": {"input_col": "a", "words": ["win"]}},
    "y": {"found": {"input_col": "a", "values": ["b"]}},
    "z": {"found": {"input_col": "a", "patterns": ["urls"]}},
    "i": {"image": {"input_col": "picture", "size": [8, 8]}},
    "o": {"one_hot": {"input_col": "a"}},
    "u": {"one_hot": {"input_col": "a", "handle_unseen": {"hashed": 4}}},
    "j": {"index": {"input_col": "a"}},
    "e": {"numeric": {"input_col": {"age": "born"}}},
    "f": {"numeric": {"input_col": {"difference": ["left", "came"]}}},
    "g": {"numeric": {"input_col": {"ratio": ["x", "z"]}}},
    "k": {"numeric": {"input_col": {"log": "x"}}},
    "n": {"numeric": {"input_col": "x", "scale": "minmax", "to": [0, 1], "clip": [0.1, 0.9], "missing": 1.0}},
    "t": {"target_encoded": {"input_col": "a"}},
    "w": {"text": {"input_col": "a", "length": 3, "num_buckets": 9}},
    "m": {"text": {"input_col": "a", "max_tokens": 9}},
    "v": {"windowed": {"input_col": "x", "over": "3 days", "take": "ewm", "alpha": 0.5, "by": ["id"], "min_count": 2}},
    "s": {"windowed": {"input_col": "x", "over": "3 days", "take": "sum", "tile": "day", "by": ["id"]}},
}
OLD = {
    "columns": {"k": "string", "e": "string"},
    "columns_from": {"x": {"mapped": "e", "values": {"a": 1}, "missing": "mean"}, "y": {"mapped": "e", "values": {"a": 1}}, "id": {"renamed": "k"}, "a": {"constant": "x"},
                     "c": {"derived": {"join": ["k", "e"]}}, "d": {"cast": "d"}},
}  # fmt: skip
DATA = {"key": ["id"], "time": "at", "label": "y"}


def raw_conf(**sections):
    return {"name": "n", **data_and_label(sections.pop("data", DATA)), **sections}


def torch_model(network, **more):
    return {"torch": {"network": network, **more}}


def bases():
    """Confs that together have every field."""
    source = {"source": "a.csv", "columns": {"id": "bigint", "x": {"from": "X", "type": "double"}}, "csv": {"delimiter": ";"}, "table": "s.t", "retention": "30 days", "lateness": "3 days", "period": "month", "positive": {"above": 1.0}}  # fmt: skip
    time = {"test": "2026-09-01", "validation": "2026-08-01", "column": "at"}
    actions = {"call": {"top": 0.1}, "write": {"over": 0.5}, "visit": {"budget": 10, "cost": 2}}
    score = {"into": "s.p", "model": "models:/m@champion", "trust": "0" * 32, "actions": actions}
    yield raw_conf(
        data=DATA | source,
        features=FEATURES,
        split={"by": ["g"], "share": {}},
        score=score,
        release={"promote_if": {"roc_auc": {"at_least": 0.5}}},
    )
    yield raw_conf(
        split={"time": time},
        view={"entity": ["id"], "features": ["x"], "created": "at", "ttl": "3 days"},
        data=DATA | {"positive": "yes", "zone": "Europe/Berlin"},
    )
    yield raw_conf(
        data=DATA
        | {"views": [{"table": "u.features", "entity": {"a": "b"}}, {"conf": "u.yaml"}], "source": {"generator": "telecom"}}
    )
    yield raw_conf(features={"v": FEATURES["v"]})
    yield raw_conf(label={"column": "y", "bands": {"quantiles": 3}})
    yield raw_conf(label={"column": "y", "bands": [1.0, 2.0]})
    yield raw_conf(label={"column": "y", "separator": ","})
    yield raw_conf(label={"columns": ["y1", "y2"]})
    yield raw_conf(label={"neutral": {"votes": ["y1", "y2"]}})
    yield raw_conf(label={"column": "y", "neutral": {"between": [1.0, 2.0]}})
    yield raw_conf(label={"column": "y", "neutral": {"abstain": 0.8}})
    for rule in (
        {"maximise": "f_beta", "beta": 1.0},
        {"precision_at_least": 0.5},
        {"recall_at_least": 0.5},
        {"cost": {"false_positive": 1.0, "false_negative": 1.0}},
    ):
        yield raw_conf(label={"column": "y", "threshold": rule})
    yield raw_conf(label={"column": "y", "interval": 0.5})
    yield raw_conf(label={"column": "y", "interval": {"share": 0.5, "scaled": True}})
    yield raw_conf(data=DATA | {"source": "months", "period": {"from": "file", "pattern": r"(\d{4}-\d{2})"}})
    for name in ("cards", "clicks", "houses", "mail", "news", "reviews", "shop", "retail", "prices", "ticks"):
        yield raw_conf(data=DATA | {"source": {"generator": name}})
    columns = {"id": "string", "y": "int", "x": "double", "a": "string", "c": "string", "d": "bigint"}
    old = {"name": "old", "files": ["old_*"], **OLD, "columns": OLD["columns"] | {"d": "int"}}
    yield raw_conf(
        data=DATA | {"time": None, "source": "folder", "columns": columns, "versions": [old, {"name": "new", "files": ["new_*"]}]}
    )
    delta = old | {"delta": {"path": "t", "versions": [1, 2]}, "files": []}
    yield raw_conf(
        data=DATA
        | {"time": None, "columns": columns, "versions": [delta, {"name": "new", "delta": {"path": "t", "versions": [3]}}]}
    )
    report = {"slices": ["a"], "truth": "p", "without": [["o"]], "importance": {"metric": "log_loss"}}
    tune = {"search": "random", "over": {"params.C": {"low": 0.1, "high": 1.0}}, "trials": 3}
    rebalance = {"weights": {"a": 1.0}}
    yield raw_conf(
        features=FEATURES, train={"model": SKLEARN, "tune": tune, "rebalance": rebalance, "register_as": "m"}, report=report
    )
    variant = {"label": {"calibrate": "sigmoid"}, "train": {"seed": 1}, "without": ["o"]}
    yield raw_conf(features=FEATURES, train={"model": SKLEARN}, report={"compare": {"other": variant}})
    number = {"x": {"numeric": {"input_col": "x"}}}
    for rebalance in ({"majority": 0.5}, {"minority": 5.0}, {"smote": {}}):
        yield raw_conf(
            features=number, train={"model": SKLEARN, "rebalance": rebalance}, report={"rebalance": [rebalance], "precision": 0.4}
        )
    members = {"linear": SKLEARN, "trees": {"ensemble": {"bag": {"of": SKLEARN}}}}
    yield raw_conf(features=FEATURES, train={"model": {"ensemble": {"stack": {"members": members, "meta": SKLEARN}}}})
    yield raw_conf(features=FEATURES, train={"model": {"ensemble": {"vote": {"members": members}}}})
    voters = {"new": SKLEARN, "old": {"registered": {"model": "models:/m@champion"}}}
    yield raw_conf(features=FEATURES, train={"model": {"ensemble": {"vote": {"members": voters}}}})
    first = {"features": ["o"], "model": SKLEARN, "exit": {"precision_at_least": 0.9}}
    rules = {"rules": {"yes": ["l"]}, "exit": {"precision_at_least": 0.9}}
    cascade = {
        "stages": {
            "first": first,
            "keywords": first,
            "rules": rules,
            "last": {"features": ["j", {"stage": "first"}], "model": SKLEARN},
        }
    }
    yield raw_conf(features={name: FEATURES[name] for name in "ojl"}, train={"model": {"cascade": cascade}})
    yield raw_conf(features=FEATURES, train={"models": {"linear": SKLEARN, "trees": SKLEARN}})
    wide = {"wide_deep": {"hidden": [4]}}
    begun = {"loop": {"clip": 1.0, "patience": 1, "decay": "cosine"}, "start": {"model": "m", "into": "image"}}
    yield raw_conf(features=FEATURES, train={"model": torch_model(wide, **begun), "interface": "eth0"})
    towers = {"two_tower": {"query": ["o"], "candidate": ["j"], "hidden": [4]}}
    stages = {"loop": {"stages": [{"trains": "all", "learning_rate": 0.1}]}, "start": {"file": "m.pth"}}
    yield raw_conf(features=FEATURES, train={"model": torch_model(towers, **stages)})
    joined = {"joined": {"text": {"feature": "w"}, "image": {"feature": "i"}, "hidden": [4]}}
    yield raw_conf(features=FEATURES, train={"model": torch_model(joined)})
    operations = [{"resize": {"width": 4, "height": 4}}, {"crop": {"width": 4, "height": 4}}, {"rotate": {"degrees": 90}},
                  {"filter": {"kind": "blur"}}, {"enhance": {}}, {"convert": "gray"}, {"thumbnail": 4}]  # fmt: skip
    images = {
        "input_col": "picture",
        "into": "s.i",
        "folder": "/tmp/small",
        "operations": operations,
        "output": {"format": "PNG"},
    }
    yield raw_conf(images=images)


# Valid other values that cannot be guessed from type and value: of a field, or of the mapping around it.
OTHERS = {
    "Data.columns": [{"id": "bigint", "x": "bigint"}, {"id": "string", "y": "bigint", "x": "double", "a": "string", "c": "string", "d": "bigint"}],
    "Data.zone": ["UTC"],
    "CsvOptions.encoding": ["iso-8859-1"],
    "RenamedColumn.type": ["bigint"],
    "LayoutVersion.columns": [{"k": "string", "e": "string", "d": "bigint"}],
    "LayoutVersion.columns_from": [OLD["columns_from"] | {"a": {"constant": "z"}}],
    "ColumnBridge.renamed": ["e"], "ColumnBridge.mapped": ["k"], "ColumnBridge.derived": [{"coalesce": ["k", "e"]}],
    "DateParts.parts": [["hour"]],
    "Numeric.clip": [[0.1, 0.8]],
    "Windowed.by": [["a"]], "Windowed.order_by": [["at", "z"]], "Windowed.value": ["b"],
    "TimeBoundaries.test": ["2026-10-01"], "TimeBoundaries.validation": ["2026-08-02"],
    "Sklearn.estimator": ["sklearn.svm.LinearSVC"],
    "Sklearn.params": [{"C": 2.0}, {"C": 1}],
    "Tune.over": [{"params.C": [1.0]}],
    "Found.patterns": [["urls"], ["digits", "urls"]],
    "Report.without": [[["h"]]], "StageConf.rules": [{"no": ["l"]}],
    "Report.compare": [{"other": {"without": ["h"]}}],
    "Variant.label": [{"calibrate": "isotonic"}], "Variant.train": [{"seed": 2}], "Variant.without": [["h"]],
    "LabelConf.threshold": [0.25], "LabelConf.bands": [[1.0, 3.0]], "LabelConf.columns": [["y1", "y3"]],
    "NeutralConf.votes": [["y1", "y3"]], "NeutralConf.between": [[1.0, 3.0]], "NeutralConf.agreement": [0.75],
    "Release.promote_if": [{}],
    **{f"{kind.__name__}.end": ["2026-09-30", "2026-09"] for kind in GENERATORS.values()},
    "Ticks.begin": ["2026-09-30"],
    "FilePeriod.pattern": [r"(\d{4})"],
}  # fmt: skip
AROUND = {
    "Threshold.maximise": [{"maximise": "f1"}],
    "FoldShares.train": [{"train": 0.7, "validation": 0.1, "test": 0.2}],
    "FoldShares.validation": [{"train": 0.7, "validation": 0.2, "test": 0.1}],
    "FoldShares.test": [{"train": 0.7, "validation": 0.1, "test": 0.2}],
    "ColumnBridge.cast": [{"constant": 1}],
    "FilePeriod.from": ["all"],
    **{f"{kind.__name__}.generator": [{"generator": "shop"}, {"generator": "telecom"}] for kind in GENERATORS.values()},
}  # fmt: skip


def guesses(annotation, value, examples):
    """Other values of a type; the nearest first."""
    for type_ in alternatives(annotation):
        origin, inner = typing.get_origin(type_), typing.get_args(type_)
        if origin is typing.Literal:
            yield from inner
        elif type_ is bool:
            yield not value
        elif type_ in (int, float) and not isinstance(value, bool):
            at = value if isinstance(value, int | float) else 1
            yield from (at + 1, at * 2, at - 1, at / 2, 0.5, 4, 12) if type_ is float else (at + 1, at * 2, at - 1, 2, 24)
        elif type_ is str:
            text = value if isinstance(value, str) else ""
            yield from [
                *(examples or ()),
                f"{text}_2",
                "5 days",
                "a_2",
                "'",
                "s.t2",
                "models:/m/3",
                "/tmp/other",
                "o",
                "q",
                "x",
                "2 rows",
            ]
        elif origin is list and isinstance(value, list):
            yield from (value + more for more in (["o"], ["JPEG"], ["day"], [2], [3.0], [["a"]]))
            yield value[:-1]
        elif origin is tuple:
            one = value or (0, 1)
            yield from (
                [0.1, 0.9],
                [one[0], one[1] * 2],
                [one[0], one[1] + one[1] / 2 if isinstance(one[1], float) else one[1] * 3],
            )
        elif origin is dict:
            yield from ({**(value if isinstance(value, dict) else {}), "z": more} for more in ("x", 1.0, 2))
        elif type_ is typing.Any:
            yield "x"


def alternatives(annotation):
    if typing.get_origin(annotation) is typing.Annotated:
        return alternatives(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, UnionType):
        return [one for arg in typing.get_args(annotation) for one in alternatives(arg)]
    return [annotation]


def fields(model, path=()):
    """Fields of a section and of those inside it: path, section, name, field, value, and whether sections are inside."""
    for name, field in type(model).model_fields.items():
        value, at = getattr(model, name), (*path, field.alias or name)
        inside = list(models(value, at))
        yield at, type(model), name, field, value, bool(inside)
        for section, where in inside:
            yield from fields(section, where)


def models(value, path):
    if isinstance(value, BaseModel):
        yield value, path
    elif isinstance(value, dict | list | tuple):
        for name, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from models(item, (*path, name))


def put(raw, path, value):
    """The conf with a value at a path; it shares what is not on the path."""
    if not path:
        return value
    part, *rest = path
    copied = copy.copy(raw) if isinstance(raw, dict | list) else {}
    copied[part] = put(copied.get(part) if isinstance(copied, dict) else copied[part], rest, value)
    return copied


def changed_conf(raw, base, path, owner, field, value):
    """The conf with another value of a field (None: no valid one is known)."""
    name = f"{owner.__name__}.{path[-1]}"
    around = ((path[:-1], mapping) for mapping in AROUND.get(name, ()))
    others = ((path, other) for other in (*OTHERS.get(name, ()), *guesses(field.annotation, value, field.examples)))
    for where, other in chain(around, others):
        try:
            changed = parse_conf(put(raw, where, other))
        except (ConfError, TypeError):
            continue
        if canonical_json(changed.dumped) != canonical_json(base.dumped):
            return changed
    return None


def covers(exclusion, job, path):
    """Whether an exclusion applies to a field for a job."""
    parts = exclusion.path.split(".")
    same = len(parts) <= len(path) and all(mine in ("*", str(theirs)) for mine, theirs in zip(parts, path, strict=False))
    return same and (not exclusion.jobs or job in exclusion.jobs)


def counts(job, path, value):
    """Whether a field counts for a job, by `JOBS` and `EXCLUSIONS`."""
    path = tuple(map(str, path))
    read = any(path[: len(part)] == part for part in (tuple(p.split(".")) for p in (*job_identity.JOBS[job].conf, "name")))
    excluded = [exclusion for exclusion in job_identity.EXCLUSIONS if covers(exclusion, job, path)]
    return read and (not excluded or (excluded[0].whether and value is None))


def ids(conf):
    return {job: job_identity.run_identity(conf, job, PINS[job]) for job in job_identity.JOBS}


def subclasses(of):
    for one in of.__subclasses__():
        yield from [one, *subclasses(one)]


# Base classes, and sections that no conf has.
ABSTRACT = ("Kind", "Bucketed", "_Feature", "Generator", "EventLog", "_OutOfFold", "DecoderOptions")


@cache
def changed_fields():
    """Changes of one field each: section, field, path, value, and for each job whether its identity differs."""
    changes = []
    for raw in bases():
        base = parse_conf(raw)
        before = ids(base)
        for path, owner, name, field, value, inside in fields(base):
            changed = None if inside else changed_conf(raw, base, path, owner, field, value)
            if changed or inside:
                differs = {job: before[job] != now for job, now in ids(changed).items()} if changed else {}
                changes.append((owner, name, path, value, differs))
    return changes
