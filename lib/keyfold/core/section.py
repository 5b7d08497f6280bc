"""What every section of a conf is: a typed record that forbids unknown keys."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A part of a conf. Each module that acts on a part defines the part's own subclass."""

    model_config = ConfigDict(extra="forbid", frozen=True, serialize_by_alias=True, defer_build=True)
