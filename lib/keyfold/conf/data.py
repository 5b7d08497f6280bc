"""The section `data`: where rows come from, what names them, and what is to be predicted."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator, model_validator

from keyfold import generators
from keyfold.conf import versions as schema
from keyfold.conf.columns import RenamedColumn, checked_zone, column_types
from keyfold.conf.csv import CsvOptions
from keyfold.conf.file_period import FilePeriod
from keyfold.conf.versions import LayoutVersion, checked_columns
from keyfold.conf.views import DURATION, Views
from keyfold.core.names import CONTENT
from keyfold.core.section import Section
from keyfold.errors import duplicates

Key = Annotated[
    list[str],
    BeforeValidator(lambda key: [CONTENT] if key == "content" else key),
    WithJsonSchema({"anyOf": [{"type": "array", "items": {"type": "string"}, "minItems": 1}, {"const": "content"}]}),
]


class AboveThreshold(Section):
    """A class of a label that is a number: what is above."""

    above: float


class Data(Section):
    """Where rows come from, what names them, and what is to be predicted."""

    source: generators.GeneratorSource | None = Field(
        None, description="files or a generator; without it the table is there already"
    )
    columns: dict[str, str | RenamedColumn] = Field(
        default_factory=dict,
        description="types of the columns of CSV and JSON files; date(dd.MM.yyyy); {from: name in the files, type: …}",
    )
    csv: CsvOptions | None = None
    versions: list[LayoutVersion] = Field(
        default_factory=list, description="layouts of the table, older ones first, the current one last"
    )
    table: str | None = Field(None, pattern=r"^\w+(\.\w+){1,2}$", examples=["crm.customers"], description="default: <name>.rows")
    key: Key = Field(
        min_length=1, description="names a row within its period; content: a digest of the row and its number among its likes"
    )
    time: str | None = Field(None, description="a date or timestamp column")
    period: Literal["all", "year", "month", "day"] | FilePeriod = Field(
        "all", description="by time; or {from: file, pattern: …}, which takes it from the names of files and folders"
    )
    max_quarantine: float = Field(
        0.1, ge=0, le=1, description="share of the rows read that may go to quarantine; above it the table stays as it is"
    )
    zone: str | None = Field(None, description="of times without an offset", examples=["Europe/Berlin"])
    retention: str = Field("30 days", pattern=r"^[1-9]\d* (days|weeks)$", description="former rows are not vacuumed before")
    lateness: str | None = Field(
        None, pattern=DURATION, description="windows and views of periods that are older stay as they are; default: none do"
    )
    views: Views = Field(default_factory=list, description="feature views whose columns are taken as they stood at data.time")
    label: str | None = None
    positive: str | int | bool | AboveThreshold | None = Field(
        None, description="the class whose probability is predicted; of a number {above: x}"
    )

    _known_types = field_validator("columns")(checked_columns)

    @property
    def types(self) -> dict[str, str]:
        """Spark's types of the declared columns."""
        return column_types(self.columns)

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, zone: str | None) -> str | None:
        return checked_zone(zone)

    @field_validator("key")
    @classmethod
    def _named_once(cls, key: list[str]) -> list[str]:
        if twice := duplicates(key):
            raise ValueError(f"`{twice[0]}` stands twice")
        return key

    @model_validator(mode="after")
    def _period_needs_time(self) -> "Data":
        if isinstance(self.period, str) and self.period != "all" and self.time is None:
            raise ValueError(f"period `{self.period}` needs `time`, the column that says when")
        return self

    @model_validator(mode="after")
    def _period_needs_files(self) -> "Data":
        files = isinstance(self.source, str) and not any(v.delta for v in self.versions)
        if isinstance(self.period, FilePeriod) and not files:
            raise ValueError("period `{from: file}` needs `source`, the files that are named so")
        return self

    @model_validator(mode="after")
    def _views_need_time(self) -> "Data":
        if self.views and self.time is None:
            raise ValueError("`views` need `time`, the column that says when each row is")
        return self

    @model_validator(mode="after")
    def _versions_fit(self) -> "Data":
        if self.versions:
            schema.check_versions(self)
        return self
