"""A use case as one YAML file: read, overridden, checked in one pass; every error with its path."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import repeat
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from keyfold.conf import messages, table_names, tune, yaml
from keyfold.conf.data import Data
from keyfold.conf.images import Images
from keyfold.conf.release import Release
from keyfold.conf.report import Report, remaining_features
from keyfold.conf.score import Score
from keyfold.conf.split import Split
from keyfold.conf.train import Train
from keyfold.conf.views import View
from keyfold.conf.windows import series_definition
from keyfold.core.digests import digest
from keyfold.core.section import Section
from keyfold.errors import ConfError
from keyfold.features.inputs import feature_order
from keyfold.features.kinds import Feature
from keyfold.windows.series import SeriesDefinition

SHOWN = 50  # faults of a conf


class Conf(Section):
    """One use case. Sections stand in the order in which data flows; each is one module's own model."""

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", examples=["churn"], description="names tables, salts and the model")
    data: Data
    split: Split = Split()
    features: dict[str, Feature] = Field(default_factory=dict)
    view: View | None = Field(None, description="offers the feature table to other use cases")
    train: Train | None = None
    score: Score = Score()
    images: Images | None = Field(None, description="what is made of the images of a table that names them by key")
    release: Release = Release()
    report: Report = Report()

    @field_validator("features", mode="before")
    @classmethod
    def _named(cls, features: Any, info: ValidationInfo) -> Any:
        """Windows have columns of their features' names, and ages are at the row's time."""
        time = getattr(info.data.get("data"), "time", None)

        def named(name: str, feature: Any) -> Any:
            if not isinstance(feature, dict):
                return feature
            aged = {kind: _aged(conf, time) for kind, conf in feature.items()}
            windowed = aged.get("windowed")
            return {"windowed": {"column": name} | windowed} if isinstance(windowed, dict) else aged

        return {name: named(name, f) for name, f in features.items()} if isinstance(features, dict) else features

    @model_validator(mode="after")
    def _fits_together(self) -> "Conf":
        kinds = {name: feature.kind for name, feature in self.features.items()}
        try:
            self.windows  # noqa: B018 - ConfError where they do not fit
            feature_order(kinds)
            tune.check_tune(self.train)
        except ConfError as error:
            raise ValueError(str(error)) from error
        if told := [name for name, kind in kinds.items() if self.data.label in kind.row_columns]:
            raise ValueError(
                f"features.{told[0]} takes `{self.data.label}`, which is data.label, the column to predict; take it out"
            )
        if wrong := [*table_names.table_name_faults(self), *table_names.key_faults(self)]:
            raise ValueError("\n  ".join(wrong))
        if self.score.keep == "latest" and self.data.time is None:
            raise ValueError("score.keep: latest needs data.time, the column that says which row is")
        for number, some in enumerate(self.report.without):
            try:
                remaining_features(kinds, some)
            except ConfError as error:
                raise ValueError(f"report.without.{number}: {error}") from error
        return self

    @cached_property
    def windows(self) -> SeriesDefinition | None:
        """The windows among the features, None where there are none (ConfError where they are not of one series in one order)."""
        return series_definition(self.data, self.features, self.view)

    @cached_property
    def dumped(self) -> dict[str, Any]:
        """As JSON, defaults too."""
        return self.model_dump(mode="json")

    @cached_property
    def digest(self) -> str:
        """Of the whole conf, as hexadecimal text."""
        return digest(self.model_dump(mode="json", exclude_defaults=True))


def _aged(conf: Any, time: str | None) -> Any:
    derived = conf.get("input_col") if isinstance(conf, dict) else None
    if time is None or not isinstance(derived, dict) or "age" not in derived:
        return conf
    return conf | {"input_col": {"at": time} | derived}


def load_conf(path: str | Path, overrides: Sequence[str] = ()) -> Conf:
    """The conf at `path`, with `path.to.option=value` overrides (ConfError with every fault at once)."""
    raw = yaml.read_yaml(path)
    _check_mapping(raw, str(path))
    return parse_conf(_overridden(raw, overrides), str(path))


def parse_conf(raw: Any, where: str = "the conf") -> Conf:
    """The conf that a mapping stands for (ConfError with every fault at once)."""
    _check_mapping(raw, where)
    if odd := list(messages.unusable_values(raw)):
        raise _faulty(where, odd)
    try:
        return Conf.model_validate(raw)
    except ValidationError as error:
        raise _faulty(where, filter(None, map(messages.fault_message, error.errors(), repeat(Conf)))) from None


def _faulty(where: str, sentences: Iterable[str]) -> ConfError:
    lines = list(dict.fromkeys(sentences))
    more = [f"… and {len(lines) - SHOWN:,} more"] if len(lines) > SHOWN else []
    said = "\n  ".join([*lines[:SHOWN], *more])
    return ConfError(f"{where} has {'a fault' if len(lines) == 1 else f'{len(lines):,} faults'}:\n  {said}")


def _check_mapping(raw: Any, where: str) -> None:
    if not isinstance(raw, dict):
        raise ConfError(f"{where} must be a mapping with `name:` and `data:` (got {messages.shortened(raw)})")


def _overridden(raw: Any, overrides: Sequence[str]) -> Any:
    for override in overrides:
        path, equals, value = override.partition("=")
        if not equals or not path:
            raise ConfError(f"--set takes path.to.option=value (got `{override}`)")
        yaml.set_path(raw, path, yaml.parse_yaml(value, f"--set {path}"))
    return raw
