"""The section `label`: the column to predict, and what of it is predicted."""

import json
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema

from keyfold.core.section import Section


class AboveThreshold(Section):
    """The positive class of a numeric label: the values above a threshold."""

    above: float = Field(description="Values above this number are positive.", examples=[0])


def moved_options(raw: Any) -> Iterator[str]:
    """One sentence if a conf has its label in the section `data`, where it was before version 0.3."""
    data = raw.get("data")
    if not isinstance(data, dict) or not (old := [name for name in ("label", "positive") if name in data]):
        return
    column, positive = (json.dumps(data.get(name), ensure_ascii=False, default=str) for name in ("label", "positive"))
    line = f"{{column: {column}, positive: {positive}}}" if "positive" in data else column
    yield f"data.{old[0]} is not an option any more; `label` is a section of its own: write `label: {line}` below `data`"


class LabelConf(Section):
    """The column to predict. Short form: its name, as in `label: churned`."""

    column: str = Field(examples=["left_next_month"], description="Column to predict.")
    positive: str | int | bool | AboveThreshold | None = Field(
        None,
        description="The class whose probability is predicted; for a numeric label `{above: x}`. "
        "Default: the class that means yes, if it is clear.",
    )

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, label: Any) -> Any:
        return {"column": label} if isinstance(label, str) else label

    @property
    def columns_of_rows(self) -> list[str]:
        """The columns of the table that make the label."""
        return [self.column]


class _ShortForm:
    """Adds the short form to the JSON schema."""

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [{"type": "string"}, handler(core_schema)]}


LabelSection = Annotated[LabelConf, _ShortForm()]
