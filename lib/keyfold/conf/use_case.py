"""A use case as one YAML file: reads it, applies overrides and reports all faults at once, each with its path."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from keyfold.conf import messages, table_names, tune, yaml
from keyfold.conf.candidates import check_candidates
from keyfold.conf.cascades import check_cascade
from keyfold.conf.data import Data
from keyfold.conf.ensembles import check_ensemble
from keyfold.conf.images import Images
from keyfold.conf.importance import check_importance
from keyfold.conf.label import LabelSection, check_label, moved_options
from keyfold.conf.rebalance import Rebalance, check_rebalance, replaced_options
from keyfold.conf.release import Release
from keyfold.conf.report import Report, remaining_features
from keyfold.conf.score import Score, check_actions
from keyfold.conf.split import Split
from keyfold.conf.train import Train
from keyfold.conf.variants import SECTIONS, variant_faults, variant_sections
from keyfold.conf.views import View
from keyfold.conf.windows import series_definition
from keyfold.core.digests import digest
from keyfold.core.section import Section
from keyfold.errors import ConfError
from keyfold.evaluation.metrics import BINARY
from keyfold.features.inputs import feature_order
from keyfold.features.kinds import Feature
from keyfold.models import reasons
from keyfold.windows.series import SeriesDefinition

EngineName = Literal["auto", "embedded", "spark"]
MAX_FAULTS = 50  # reported for one conf


class Conf(Section):
    """The conf of one use case. The sections follow the flow of data."""

    name: str = Field(
        pattern=r"^[A-Za-z][A-Za-z0-9_]*$",
        examples=["churn"],
        description="Name of the use case: the schema of its tables, the default salt of its split, and the registered model.",
    )
    data: Data = Field(description="Where the rows come from, and their key.")
    label: LabelSection | None = Field(
        None,
        examples=["left_next_month", {"column": "Churn", "positive": "Yes"}],
        description="The column to predict, or a section about it. Default: none; nothing can be trained.",
    )
    split: Split = Field(Split(), description="How rows are assigned to folds.")
    features: dict[str, Feature] = Field(
        default_factory=dict, examples=[{"city": {"one_hot": {"input_col": "city"}}}], description="Features by name."
    )
    view: View | None = Field(None, description="Publishes the feature table as a view for other use cases. Default: none.")
    train: Train | None = Field(None, description="The model and its training. Default: none; nothing is trained.")
    score: Score = Field(Score(), description="The model, the table of predictions, and the keys to act on.")
    images: Images | None = Field(None, description="Transforms the images of a table. Default: none.")
    release: Release = Field(Release(), description="When a new version is promoted to champion.")
    report: Report = Field(Report(), description="Optional parts of a training's page.")
    engine: EngineName = Field(
        "auto",
        description="What moves the rows: `spark`; `embedded`, which is DuckDB and deltalake in this process, without Java, for what fits on "
        "one machine; `auto`: Spark where something needs it. `--engine` and KEYFOLD_ENGINE take precedence.",
    )

    @field_validator("features", mode="before")
    @classmethod
    def _complete(cls, features: Any, info: ValidationInfo) -> Any:
        """Sets the column of windowed features to the feature's name, and the `at` of ages to data.time."""
        time = getattr(info.data.get("data"), "time", None)

        def complete(name: str, feature: Any) -> Any:
            if not isinstance(feature, dict):
                return feature
            kinds = {kind: _with_time(options, time) for kind, options in feature.items()}
            windowed = kinds.get("windowed")
            return {"windowed": {"column": name} | windowed} if isinstance(windowed, dict) else kinds

        return {name: complete(name, f) for name, f in features.items()} if isinstance(features, dict) else features

    @model_validator(mode="after")
    def _fits_together(self) -> "Conf":
        kinds = {name: feature.kind for name, feature in self.features.items()}
        try:
            self.windows  # noqa: B018 - raises ConfError if they do not fit
            feature_order(kinds)
            kinds_of_classifier = self.label.kinds_of_classifier if self.label else (BINARY,)
            tune.check_tune(self.train, kinds_of_classifier)
            check_importance(self.report.importance, self.train, kinds_of_classifier)
            check_candidates(self.train, self.split, kinds_of_classifier)
            if (
                self.score.actions
                and self.label
                and self.train
                and self.score.model is None
                and self.train.model.chosen.classifies
            ):
                check_actions(self.score.actions, kinds_of_classifier)
            neutral = bool(self.label and self.label.neutral and self.label.neutral.abstain is None)
            check_ensemble(self.train, self.split.folds, self.ways_of_rebalancing, neutral=neutral)
            check_cascade(self.train, self.label, self.split, kinds, self.score, self.report, self.data.key)
            check_rebalance(self.ways_of_rebalancing, self.train.model if self.train else None, kinds)
            self.variants  # noqa: B018 - raises ConfError if one is not a use case
        except ConfError as error:
            raise ValueError(str(error)) from error
        for column in self.label_columns:
            if leaking := [name for name, kind in kinds.items() if column in kind.row_columns]:
                raise ValueError(
                    f"features.{leaking[0]} takes `{column}`, which is the label, the column to predict; take it out"
                )
            imputed = [
                v.name for v in self.data.versions if getattr(v.columns_from.get(column), "missing", "null") not in (None, "null")
            ]
            if imputed:
                raise ValueError(
                    f"data.versions: `{imputed[0]}` imputes `{column}`, which is the label; only `missing: null` is possible"
                )
        check_label(self.label, self.train, self.split)
        if faults := [*table_names.table_name_faults(self), *table_names.key_faults(self)]:
            raise ValueError("\n  ".join(faults))
        if self.score.keep == "latest" and self.data.time is None:
            raise ValueError("score.keep: latest needs data.time, the column with the date or time of each row")
        if self.score.reasons and (self.label and (self.label.several or self.label.bands or self.label.neutral)):
            raise ValueError(f"score.reasons {reasons.FOR}, and this label has several answers; leave it out")
        if self.score.reasons and self.train and self.train.model.torch:
            raise ValueError(
                "score.reasons is for scikit-learn models and ensembles of them; the rows of a network stay in files; leave it out"
            )
        for number, without in enumerate(self.report.without):
            try:
                remaining_features(kinds, without)
            except ConfError as error:
                raise ValueError(f"report.without.{number}: {error}") from error
        return self

    @property
    def label_columns(self) -> list[str]:
        """The columns of the table that make the label; none without a label."""
        return self.label.columns_of_rows if self.label else []

    @property
    def ways_of_rebalancing(self) -> dict[str, Rebalance]:
        """That of the training and those that the report compares, by the path of their option."""
        own = {"train.rebalance": self.train.rebalance} if self.train and self.train.rebalance else {}
        return own | {f"report.rebalance.{number}": way for number, way in enumerate(self.report.rebalance)}

    @cached_property
    def windows(self) -> SeriesDefinition | None:
        """The windows among the features, or None; raises ConfError unless all have one series and one order."""
        return series_definition(self.data, self.features, self.view)

    @cached_property
    def variants(self) -> "dict[str, Conf]":
        """The use cases of `report.compare` by name; raises ConfError, which lists all faults, if one cannot be trained or compared."""
        if not self.report.compare:
            return {}
        if self.label is None or self.train is None:
            missing = "train" if self.label else "label"
            raise ConfError(f"report.compare has variants of the model, and the conf has no section `{missing}`")
        variants, faults, raw = {}, [], self.model_dump(mode="json", exclude_defaults=True, include=SECTIONS)
        for name, variant in self.report.compare.items():
            path = f"report.compare.{name}"
            try:
                of = variants[name] = Conf.model_validate(variant_sections(raw, self.features, variant))
                assert of.label
                assert of.train
                faults += [path + fault for fault in variant_faults(name, of.label, of.train, (self.label, self.train))]
            except ValidationError as error:
                faults += [f"{path}{'.' * bool(each['loc']) or ': '}{fault}" for each, fault in _faults(error)]
            except ConfError as error:
                faults.append(f"{path}.without: {error}")
        if faults:
            raise ConfError("\n  ".join(faults))
        return variants

    @cached_property
    def dumped(self) -> dict[str, Any]:
        """The conf as JSON values, including defaults."""
        return self.model_dump(mode="json")

    @cached_property
    def digest(self) -> str:
        """Hexadecimal digest of the conf without defaults."""
        return digest(self.model_dump(mode="json", exclude_defaults=True))


def _with_time(options: Any, time: str | None) -> Any:
    derived = options.get("input_col") if isinstance(options, dict) else None
    if time is None or not isinstance(derived, dict) or "age" not in derived:
        return options
    return options | {"input_col": {"at": time} | derived}


def load_conf(path: str | Path, overrides: Sequence[str] = ()) -> Conf:
    """The conf of a YAML file, with overrides `path.to.option=value`; raises ConfError, which lists all faults."""
    raw = yaml.read_yaml(path)
    _check_mapping(raw, str(path))
    return parse_conf(_overridden(raw, overrides), str(path))


def parse_conf(raw: Any, where: str = "the conf") -> Conf:
    """The conf of a mapping; raises ConfError, which lists all faults."""
    _check_mapping(raw, where)
    if faults := [*messages.unusable_values(raw), *moved_options(raw), *replaced_options(raw)]:
        raise _conf_error(where, faults)
    try:
        return Conf.model_validate(raw)
    except ValidationError as error:
        raise _conf_error(where, [fault for _, fault in _faults(error)]) from None


def _faults(error: ValidationError) -> Iterator[tuple[Any, str]]:
    """Faults of a conf as pydantic has them, and as sentences."""
    return ((each, fault) for each in error.errors() if (fault := messages.fault_message(each, Conf)))


def _conf_error(where: str, sentences: Iterable[str]) -> ConfError:
    lines = list(dict.fromkeys(line for sentence in sentences for line in sentence.split("\n  ")))
    more = [f"… and {len(lines) - MAX_FAULTS:,} more"] if len(lines) > MAX_FAULTS else []
    faults = "\n  ".join([*lines[:MAX_FAULTS], *more])
    return ConfError(f"{where} has {'a fault' if len(lines) == 1 else f'{len(lines):,} faults'}:\n  {faults}")


def _check_mapping(raw: Any, where: str) -> None:
    if not isinstance(raw, dict):
        raise ConfError(f"{where} must be a mapping with `name:` and `data:` (got {messages.shortened(raw)})")


def _overridden(raw: Any, overrides: Sequence[str]) -> Any:
    for override in overrides:
        path, equals, value = override.partition("=")
        if not equals or not path:
            raise ConfError(f"--set takes path.to.option=value (got `{override}`)")
        if path.startswith("label.") and isinstance(raw.get("label"), str):
            raw["label"] = {"column": raw["label"]}
        yaml.set_path(raw, path, yaml.parse_yaml(value, f"--set {path}"))
    return raw
