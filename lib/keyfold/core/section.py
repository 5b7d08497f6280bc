"""Base classes of the sections of a conf: typed records that forbid unknown options."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Share = Annotated[float, Field(ge=0, le=1)]
TableName = Annotated[str, Field(pattern=r"^\w+(\.\w+){1,2}$")]


def text_names(value: Any) -> Any:
    """A mapping with the text of classes that YAML reads as booleans or whole numbers: `true`, `3`.

    Other values stay as they are, and so does a mapping that names a class twice, such as `3` and `"3"`.
    """
    if not isinstance(value, Mapping):
        return value
    named = {str(name).lower() if isinstance(name, bool | int) else name: of for name, of in value.items()}
    return named if len(named) == len(value) else value


class Section(BaseModel):
    """A section of a conf."""

    model_config = ConfigDict(extra="forbid", frozen=True, serialize_by_alias=True, defer_build=True)


class OneOf(Section):
    """A section in which exactly one of several options is set, as in `{sklearn: …}` or `{torch: …}`."""

    _choices: ClassVar[tuple[str, ...]] = ()  # default: all options
    _pair: ClassVar[tuple[str, ...]] = ()  # choices that may be set together

    @model_validator(mode="after")
    def _has_one_choice(self) -> Self:
        choices = self._choices or tuple(type(self).model_fields)
        named = tuple(name for name in choices if getattr(self, name) is not None)
        if not named and len(empty := self.model_fields_set.intersection(choices)) == 1:
            raise ValueError(f"{empty.pop()} must have a value (got nothing)")
        if len(named) != 1 and (not named or named != self._pair):
            raise ValueError(f"must name one of {', '.join(choices)} (got {' and '.join(named) or 'none'})")
        return self

    @property
    def choice(self) -> str:
        """The name of the option that is set."""
        return next(name for name in self._choices or type(self).model_fields if getattr(self, name) is not None)


def flattened(values: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Nested mappings as one, by path."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= flattened(value, f"{path}{name}.") if isinstance(value, dict) and value else {f"{path}{name}": value}
    return flat
