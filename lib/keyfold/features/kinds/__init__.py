"""The kinds of features, one file each. A new file in this folder is a new kind; it needs no registration."""

import importlib
import pkgutil
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pydantic import Field, create_model, model_validator

from keyfold.core.section import Section
from keyfold.features.kind import Kind


def _find_kinds() -> dict[str, type[Kind]]:
    names = [module.name for module in pkgutil.iter_modules(__path__)]
    return {name: _only_kind(importlib.import_module(f"{__name__}.{name}")) for name in names}


def _only_kind(module: ModuleType) -> type[Kind]:
    """The one public kind of a module. Names of other kinds in it start with `_`."""
    (kind,) = (
        member
        for member in vars(module).values()
        if isinstance(member, type)
        and issubclass(member, Kind)
        and member.__module__ == module.__name__
        and not member.__name__.startswith("_")
    )
    return kind


KINDS = _find_kinds()


def kind_name(kind: Kind) -> str:
    """Name of a kind in confs: the name of its file."""
    return next(name for name, class_ in KINDS.items() if type(kind) is class_)


class _Feature(Section):
    @model_validator(mode="after")
    def _one_kind(self) -> "_Feature":
        if len(self.model_fields_set) != 1:
            raise ValueError(f"must name one kind of {', '.join(KINDS)} (got {sorted(self.model_fields_set) or 'none'})")
        if self.kind is None:
            raise ValueError(f"{self.name} must be a mapping of its options (got nothing)")
        return self

    @property
    def name(self) -> str:
        """Name of the kind."""
        return next(iter(self.model_fields_set))

    @property
    def kind(self) -> Kind:
        """The kind with its options."""
        return getattr(self, self.name)  # type: ignore[no-any-return]


_fields: dict[str, Any] = {
    name: (kind | None, Field(None, description=(kind.__doc__ or "").partition("\n")[0])) for name, kind in KINDS.items()
}
if TYPE_CHECKING:
    Feature = _Feature
else:
    Feature = create_model("Feature", __base__=_Feature, __doc__="One feature: {kind: its options}.", **_fields)

__all__ = ["KINDS", "Feature", "kind_name"]
