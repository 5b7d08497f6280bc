"""The kinds of features: one file each, found by themselves."""

import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

from pydantic import create_model, model_validator

from keyfold.features.kind import FromFeature, Kind
from keyfold.section import Section


def _found() -> dict[str, type[Kind]]:
    kinds: dict[str, type[Kind]] = {}
    for module in pkgutil.iter_modules(__path__):
        members = vars(importlib.import_module(f"{__name__}.{module.name}")).values()
        kinds |= {
            module.name: m
            for m in members
            if isinstance(m, type) and issubclass(m, Kind) and m.__module__ == f"{__name__}.{module.name}" and m is not Kind
        }
    return kinds


KINDS = _found()


class _Feature(Section):
    @model_validator(mode="after")
    def _one_kind(self) -> "_Feature":
        if len(self.model_fields_set) != 1:
            raise ValueError(f"must name one kind of {', '.join(KINDS)} (got {sorted(self.model_fields_set) or 'none'})")
        return self

    @property
    def name(self) -> str:
        """The kind's name."""
        return next(iter(self.model_fields_set))

    @property
    def kind(self) -> Kind:
        """The kind with its fields."""
        return getattr(self, self.name)  # type: ignore[no-any-return]


_fields: dict[str, Any] = {name: (kind | None, None) for name, kind in KINDS.items()}
if TYPE_CHECKING:
    Feature = _Feature
else:
    Feature = create_model("Feature", __base__=_Feature, __doc__="One feature: {kind: its fields}.", **_fields)

__all__ = ["KINDS", "Feature", "FromFeature", "Kind"]
