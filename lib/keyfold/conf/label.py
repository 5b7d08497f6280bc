"""The section `label`: the column to predict, and what of it is predicted."""

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, GetJsonSchemaHandler, field_validator, model_validator
from pydantic_core import CoreSchema

from keyfold.conf.neutral import NeutralConf, check_neutral
from keyfold.conf.threshold import Threshold
from keyfold.core.section import Section, Share, text_names
from keyfold.errors import duplicates
from keyfold.evaluation.metrics import BANDS, BINARY, CLASSES, LABELS
from keyfold.evaluation.thresholds import UNTUNED
from keyfold.labels.multilabel import POOLED

if TYPE_CHECKING:
    from keyfold.conf.split import Split
    from keyfold.conf.train import Train


Covered = Annotated[float, Field(gt=0, lt=1)]


class AboveThreshold(Section):
    """The positive class of a numeric label: the values above a threshold."""

    above: float = Field(description="Values above this number are positive.", examples=[0])


def moved_options(raw: Any) -> Iterator[str]:
    """One sentence if a conf has its label in the section `data`, where it was in 0.1."""
    data = raw.get("data")
    if not isinstance(data, dict) or not (old := [name for name in ("label", "positive") if name in data]):
        return
    column, positive = (json.dumps(data.get(name), ensure_ascii=False, default=str) for name in ("label", "positive"))
    line = f"{{column: {column}, positive: {positive}}}" if "positive" in data else column
    yield f"data.{old[0]} is not an option any more; `label` is a section of its own: write `label: {line}` below `data`"


class Quantiles(Section):
    """Bands with about equally many rows."""

    quantiles: int = Field(ge=2, le=1000, description="Number of bands.", examples=[30])


class Interval(Section):
    """An interval of a number. Short form: the share, as in `interval: 0.9`."""

    share: Covered = Field(examples=[0.9], description="Share of the rows that `low` and `high` shall cover.")
    scaled: bool = Field(
        False,
        description="Whether the width depends on the predicted number, as errors on the validation fold do. Half of the fold is taken for that.",
    )


class LabelConf(Section):
    """The column to predict. Short form: its name, as in `label: churned`."""

    column: str | None = Field(
        None, examples=["left_next_month"], description="Column to predict. Required, but for `columns` and `neutral.votes`."
    )
    positive: str | int | bool | AboveThreshold | None = Field(
        None,
        description="The class whose probability is predicted; for a numeric label `{above: x}`. "
        "Default: the class that means yes, if it is clear.",
    )
    bands: list[float] | Quantiles | None = Field(
        None,
        examples=[[100000, 200000, 400000], {"quantiles": 30}],
        description="Predicts a number as a distribution over bands, whose inner edges these are; a classifier learns the band.",
    )
    take: Literal["mean", "median"] = Field("mean", description="What `prediction` is of the distribution over `bands`.")
    interval: Covered | Interval | None = Field(
        None,
        examples=[0.9, {"share": 0.9, "scaled": True}],
        description="Share of the rows that `low` and `high` of a number shall cover; fitted on the validation fold. "
        "Default: 0.9 for `bands`, none for other numbers.",
    )
    transform: Literal["log"] | None = Field(
        None, description="A function of a number above 0 that a regressor learns in its place; answers are numbers again."
    )
    scores: Literal["number"] | dict[str, float] | None = Field(
        None,
        alias="as",
        min_length=2,
        examples=["number", {"low": 1, "medium": 2, "high": 4}],
        description="The number of each class, for a regressor. `number`: the class is text such as `4` or `4.5`.",
    )
    columns: list[str] | None = Field(
        None,
        min_length=2,
        examples=[["politics", "sport"]],
        description="Columns of booleans, or of 0 and 1, each of which says whether a row has the label of that name.",
    )
    separator: str | None = Field(
        None, min_length=1, examples=[","], description="Separator of several labels in the text of `column`."
    )
    min_frequency: int = Field(
        1, ge=1, description="Number of rows of the train fold that a label of several needs; others are `rare`."
    )
    rare: Literal["leave_out", "pool"] = Field(
        "leave_out", description=f"Labels below `min_frequency`: left out, or pooled as the label `{POOLED}`."
    )
    neutral: NeutralConf | None = Field(
        None,
        exclude_if=lambda neutral: neutral is None,
        examples=[{"between": [3, 3]}, {"votes": ["rater_1", "rater_2", "rater_3"]}, {"abstain": 0.9}],
        description="Adds the answer `neutral` to the classes: for rows that are none of them, or unclear. Default: none.",
    )

    calibrate: Literal["isotonic", "sigmoid", "temperature"] | None = Field(
        None, description="Calibrates probabilities of classes or labels on the validation fold. Default: none."
    )
    threshold: Share | Threshold = Field(
        UNTUNED,
        examples=[0.3, {"maximise": "f1"}, {"precision_at_least": 0.9}],
        description="The probability from which the positive class, or each of several labels, is predicted; or how the validation fold "
        "chooses it.",
    )

    _class_names = field_validator("scores", mode="before")(text_names)

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, label: Any) -> Any:
        return {"column": label} if isinstance(label, str) else label

    @model_validator(mode="after")
    def _fits_together(self) -> "LabelConf":
        if self.raters and (self.column or self.columns):
            raise ValueError("`neutral.votes` are the columns of the label; leave out `column` and `columns`")
        if not self.raters and (self.column is None) == (self.columns is None):
            raise ValueError("must name either `column` or `columns`")
        kinds = {"positive": self.positive, "bands": self.bands, "columns": self.columns, "separator": self.separator}
        if len(given := [f"`{name}`" for name, value in kinds.items() if value is not None]) > 1:
            raise ValueError(f"{' and '.join(given)} are for labels of different kinds; leave one out")
        if isinstance(self.bands, list) and (not self.bands or any(a >= b for a, b in pairwise(self.bands))):
            raise ValueError(f"`bands` must be edges in ascending order, each once (got {self.bands})")
        if repeated := duplicates(self.columns or ()):
            raise ValueError(f"`columns` has `{repeated[0]}` twice")
        if self.take != "mean" and self.bands is None:
            raise ValueError("`take` is for `bands`")
        if self.scales_interval and self.bands is not None:
            raise ValueError(
                f"`interval.scaled` is for a number; with `bands` the width depends on the row anyway: write `interval: {self.covered}`"
            )
        if self.threshold != UNTUNED and self.bands is not None:
            raise ValueError("`threshold` is for two classes or several labels; of `bands`, the most probable one is predicted")
        if self.bands is not None and self.transform:
            raise ValueError(
                "`transform` is for a number that a regressor predicts, and `bands` are for a classifier; leave one out"
            )
        others = [name for name in ("positive", "columns", "separator") if kinds[name] is not None]
        if others and self.of_numbers:
            raise ValueError(f"`{self.of_numbers[0]}` is for a number, and `{others[0]}` for classes; leave one out")
        check_neutral(self)
        return self

    @property
    def covered(self) -> float | None:
        """The share of the rows that an interval shall cover; None if the conf names none."""
        return self.interval.share if isinstance(self.interval, Interval) else self.interval

    @property
    def scales_interval(self) -> bool:
        """Whether the width of an interval depends on the predicted number."""
        return isinstance(self.interval, Interval) and self.interval.scaled

    @property
    def fitted_on_validation(self) -> list[str]:
        """The options that need rows in the validation fold."""
        tuned = {"calibrate": self.calibrate, "threshold": isinstance(self.threshold, Threshold)}
        tuned["interval"] = self.interval is not None and self.bands is None
        return [name for name, needs in tuned.items() if needs]

    @property
    def of_numbers(self) -> list[str]:
        """The options that are set and only for labels that are numbers."""
        of = {"interval": self.interval, "transform": self.transform, "as": self.scores}
        return [name for name, value in of.items() if value is not None]

    @property
    def several(self) -> bool:
        """Whether a row may have several labels, so far as the conf says; an array does, too."""
        return self.columns is not None or self.separator is not None

    @property
    def kinds_of_classifier(self) -> tuple[str, ...]:
        """The kinds that the label of a classifier may have: that it is an array, or has more than two classes, shows in the rows."""
        if self.bands or self.several or self.neutral:
            return (BANDS if self.bands else CLASSES if self.neutral else LABELS,)
        return (BINARY,) if self.positive is not None else (BINARY, CLASSES, LABELS)

    @property
    def columns_of_rows(self) -> list[str]:
        """The columns of the table that make the label."""
        return self.raters or self.columns or [str(self.column)]

    @property
    def raters(self) -> list[str]:
        """The columns of the raters whose votes are the label; empty unless `neutral.votes` names them."""
        return self.neutral.raters if self.neutral else []


def check_label(label: LabelConf | None, train: "Train | None", split: "Split") -> None:
    """Raises ValueError if the model gives no probabilities, or has no validation fold, which options of the label need."""
    if label is None:
        return
    for name, is_set in {"calibrate": label.calibrate, "threshold": label.threshold != UNTUNED, "neutral": label.neutral}.items():
        if is_set and train and not train.model.chosen.classifies:
            raise ValueError(f"label.{name} is for probabilities, and this model predicts a number; leave it out")
    if label.fitted_on_validation and split.lacks_validation:
        raise ValueError(f"label.{label.fitted_on_validation[0]} is fitted on the validation fold, and {split.lacks_validation}")
    if split.stratified and label.neutral and label.neutral.abstain is None:
        raise ValueError(
            "split.stratified needs a label that is one column of classes; that of label.neutral is computed. Leave it out"
        )


class _ShortForm:
    """Adds the short form to the JSON schema."""

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [{"type": "string"}, handler(core_schema)]}


LabelSection = Annotated[LabelConf, _ShortForm()]
