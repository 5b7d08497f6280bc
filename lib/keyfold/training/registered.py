"""Registered members of a vote: found, fetched and verified before the training, if they fit the label, the folds and the table."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keyfold.core.digests import canonical_json, digest, folder_digest
from keyfold.core.packages import installed_release
from keyfold.dataset.labelled_rows import LabelledRows
from keyfold.errors import DataError, PromiseError
from keyfold.feature_store.table import view_digests
from keyfold.features.spec import Spec
from keyfold.models.model import Model
from keyfold.models.registered import JoinedSpec, Pin, RegisteredMember, prefix_of, read_files, registered_members
from keyfold.tracking import registry, tags
from keyfold.tracking.registry import Registered

if TYPE_CHECKING:
    from keyfold.conf.label import LabelConf
    from keyfold.runtime.run import Run

_ANSWERS = {"take", "interval", "transform", "calibrate", "threshold"}  # options of `label` that do not change what is asked


def join_members(run: "Run", spec: Spec, rows: LabelledRows) -> Spec:
    """The spec with the features of the registered members that `train.model` names; the same spec if it names none.

    Raises DataError for a version that is missing, that keyfold did not train, or whose label, folds or columns are not those of the
    conf; PromiseError if its files are not those that were registered.
    """
    assert run.conf.train is not None
    if not (named := run.conf.train.model.registered_members):
        return spec
    for name in named:
        if clash := [feature for feature in spec.features if feature.startswith(prefix_of(name))]:
            raise DataError(f"features.{clash[0]}: the features of the registered member `{name}` begin like this; rename it")
    joined = JoinedSpec(spec, {})
    for name, uri in named.items():
        joined = JoinedSpec(spec, joined.members | {name: _find(run, joined, rows, name, uri)})
    return joined


def member_pins(spec: Spec) -> list[Any] | None:
    """What the run id pins of the registered members: the version of each, and the packages that it predicts with; None without any."""
    members = registered_members(spec).items()
    return [[name, *one.pin, *((p, installed_release(p)) for p in one.packages)] for name, one in members] or None


def member_tags(run: "Run", spec: Spec, rows: LabelledRows) -> dict[str, str]:
    """Tags of a version: its registered members, and what it must share with the vote of another model to be a member of it."""
    assert run.conf.label is not None
    members = {name: list(one.pin) for name, one in registered_members(spec).items()}
    shared = {tags.LABEL: _question(run.conf.label), tags.FOLDS: digest(rows.folds.identity)}
    return shared | ({tags.MEMBERS: canonical_json(members)} if members else {})


def _question(label: "LabelConf") -> str:
    return canonical_json(label.model_dump(mode="json", exclude=_ANSWERS, exclude_defaults=True))


def _find(run: "Run", spec: JoinedSpec, rows: LabelledRows, name: str, uri: str) -> RegisteredMember:
    path = f"train.model.ensemble.vote.members.{name}"
    version = registry.find_version(uri)
    _check_training(run, rows, path, version)
    with tempfile.TemporaryDirectory() as folder:
        own = registry.fetch_model(version, Path(folder))
        if (saved := folder_digest(own)) != version.tags[tags.MANIFEST]:
            raise PromiseError(f"{path}: the files of {version} are not those that were registered")
        model, pin = Model.load(own), Pin(version.name, version.version, saved)
        _check_columns(run, spec, rows, f"{path}: {version}", model)
        run.say(f"member {name} is {version}")
        return RegisteredMember(name, model, pin, read_files(own))


def _check_training(run: "Run", rows: LabelledRows, path: str, version: Registered) -> None:
    """Before any of its files is fetched: DataError unless the version's label, folds and views are those of the conf."""
    assert run.conf.label is not None
    if tags.MANIFEST not in version.tags:
        raise DataError(f"{path}: {version} was not trained by keyfold, so its label and its folds are unknown; name another one")
    if tags.LABEL not in version.tags or tags.FOLDS not in version.tags:
        raise DataError(
            f"{path}: {version} was registered by a release that did not record its label and its folds; train it again"
        )
    if (asked := version.tags[tags.LABEL]) != (own := _question(run.conf.label)):
        raise DataError(
            f"{path}: the label of {version} is {asked}, and that of this conf {own}; members must have the same label"
        )
    if version.tags[tags.FOLDS] != digest(rows.folds.identity):
        raise DataError(
            f"{path}: {version} was trained with another split, so rows of this validation or test fold may be among those that it "
            "learnt; train it with the same `split`, salt included (default: the conf's name), and the same key; shares that are stratified also depend on the rows"
        )
    views = canonical_json(view_digests(run)) if run.conf.data.views else None
    if version.tags.get(tags.VIEWS) != views:
        raise DataError(f"{path}: {version} was trained on other views, or on views of other definitions")


def _check_columns(run: "Run", spec: JoinedSpec, rows: LabelledRows, member: str, model: Model) -> None:
    """DataError unless the model answers the label of the rows, and the table has its columns with the same types and windows."""
    if not rows.label.same_question(model.label):
        raise DataError(
            f"{member} answers {_shown(model.label)}, and the label of this train fold is {_shown(rows.label)}; train it again"
        )
    if leaking := [name for name in run.conf.label_columns if name in model.columns]:
        raise DataError(f"{member} takes `{leaking[0]}`, which is the label, the column to predict")
    try:
        model.check_columns(rows.rows)
    except DataError as error:
        raise DataError(f"{member} takes other columns than this table has: {error}") from error
    for column, family in model.spec.inputs.items():
        if (own := spec.inputs.get(column, family)) != family:
            raise DataError(f"{member} takes `{column}` as {family}, and other features as {own}; train it again")
    windows = [kind for kind, _ in spec.own.features.values() if kind.origin]
    for name, (kind, _) in model.spec.features.items():
        if kind.origin and kind not in windows:
            raise DataError(
                f"{member} takes the window `{name}` ({kind.origin.partition(';')[0]}), which no feature of this conf has in the same way"
            )


def _shown(label: Any) -> str:
    values = {
        name: value for name, value in label.to_json().items() if name in ("kind", "positive", "classes", "edges", "labels")
    }
    return canonical_json(values)[:200]
