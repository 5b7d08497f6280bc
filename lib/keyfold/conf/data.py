"""The section `data`: where the rows come from, and their key."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator, model_validator

from keyfold import generators
from keyfold.conf.columns import RenamedColumn, checked_zone, column_types
from keyfold.conf.file_period import FilePeriod
from keyfold.conf.versions import LayoutVersion, check_versions, checked_columns
from keyfold.conf.views import DURATION, Views
from keyfold.core.names import CONTENT
from keyfold.core.section import Section, Share, TableName
from keyfold.errors import duplicates
from keyfold.readers.csv_options import CsvOptions

Key = Annotated[
    list[str],
    BeforeValidator(lambda key: [CONTENT] if key == "content" else key),
    WithJsonSchema({"anyOf": [{"type": "array", "items": {"type": "string"}, "minItems": 1}, {"const": "content"}]}),
]


class Data(Section):
    """Where the rows come from, and their key."""

    source: generators.GeneratorSource | None = Field(
        None,
        examples=["customers/*.csv", {"generator": "telecom"}],
        description="Files (a path, a folder or a pattern) or a generator. Default: none; the table must exist already.",
    )
    columns: dict[str, str | RenamedColumn] = Field(
        default_factory=dict,
        examples=[{"id": "bigint", "born": "date(dd.MM.yyyy)", "name": {"from": "Customer name", "type": "string"}}],
        description="Types of the columns of CSV and JSON files. A type of dates or times may have a format; "
        "`{from: …, type: …}` renames a column.",
    )
    csv: CsvOptions | None = Field(None, description="The dialect of CSV files. Default: the standard dialect, with commas.")
    versions: list[LayoutVersion] = Field(
        default_factory=list, description="Layouts of the table, the oldest first, the current one last."
    )
    table: TableName | None = Field(None, examples=["crm.customers"], description="Table of the rows. Default: `<name>.rows`.")
    key: Key = Field(
        min_length=1,
        examples=[["customer_id"]],
        description="Columns that identify a row within its period. `content`: a digest of the row, with a number for equal rows.",
    )
    time: str | None = Field(None, examples=["month"], description="Column with the date or time of a row.")
    period: Literal["all", "year", "month", "day"] | FilePeriod = Field(
        "all",
        description="Length of a period, by `time`; a period is replaced, scored and compared as a whole. "
        "`{from: file, pattern: …}` takes the period from the names of files and folders.",
    )
    max_quarantine: Share = Field(
        0.1,
        description="Largest share of the rows read that may be quarantined; above it, the table is not changed and the job fails.",
    )
    zone: str | None = Field(
        None,
        description="Time zone of times without an offset. Default: none; such times fail the job.",
        examples=["Europe/Berlin"],
    )
    retention: str = Field(
        "30 days", pattern=r"^[1-9]\d* (days|weeks)$", description="How long VACUUM keeps rows that were replaced."
    )
    lateness: str | None = Field(
        None,
        pattern=DURATION,
        examples=["7 days"],
        description="Periods older than this, counted back from the latest row, keep their windows and view columns when late rows "
        "arrive. Default: no limit; all are computed again.",
    )
    views: Views = Field(default_factory=list, description="Feature views whose columns are joined as they were at `time`.")
    _known_types = field_validator("columns")(checked_columns)
    _known_zone = field_validator("zone")(checked_zone)

    @property
    def types(self) -> dict[str, str]:
        """Spark types of the declared columns."""
        return column_types(self.columns)

    @field_validator("key")
    @classmethod
    def _is_unique(cls, key: list[str]) -> list[str]:
        if repeated := duplicates(key):
            raise ValueError(f"`{repeated[0]}` appears twice")
        return key

    @model_validator(mode="after")
    def _fits_together(self) -> "Data":
        if isinstance(self.period, str) and self.period != "all" and self.time is None:
            raise ValueError(f"period `{self.period}` needs `time`, the column with the date or time of each row")
        files = isinstance(self.source, str) and not any(v.delta for v in self.versions)
        if isinstance(self.period, FilePeriod) and not files:
            raise ValueError("period `{from: file}` needs `source`, files whose names give the period")
        if self.views and self.time is None:
            raise ValueError("`views` need `time`, the column with the date or time of each row")
        if self.versions:
            check_versions(self)
        return self
