"""The kinds of features, one file each. A new file in this folder is a new kind; it needs no registration."""

import importlib
import pkgutil
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pydantic import Field, create_model

from keyfold.core.section import OneOf
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


class _Feature(OneOf):
    @property
    def kind(self) -> Kind:
        """The kind with its options."""
        return getattr(self, self.choice)  # type: ignore[no-any-return]


_fields: dict[str, Any] = {
    name: (kind | None, Field(None, description=(kind.__doc__ or "").partition("\n")[0])) for name, kind in KINDS.items()
}
if TYPE_CHECKING:
    Feature = _Feature
else:
    Feature = create_model("Feature", __base__=_Feature, __doc__="One feature: {kind: its options}.", **_fields)

__all__ = ["KINDS", "Feature", "kind_name"]
