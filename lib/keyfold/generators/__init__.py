"""Generated tables, `source: {generator: telecom, …}`. A new file with a generator in this folder needs no registration."""

import importlib
import pkgutil
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args

from pydantic import BeforeValidator, Discriminator, Tag

from keyfold.errors import suggestion
from keyfold.generators.generator import Generator


def _find_generators() -> dict[str, type[Generator]]:
    """The generators of this folder's modules, by the name in their field `generator`."""
    generators = {}
    for module in pkgutil.iter_modules(__path__):
        for member in vars(importlib.import_module(f"{__name__}.{module.name}")).values():
            if isinstance(member, type) and issubclass(member, Generator) and "generator" in member.model_fields:
                (name,) = get_args(member.model_fields["generator"].annotation)
                generators[name] = member
    return generators


GENERATORS = _find_generators()


def _known(value: Any) -> Any:
    if isinstance(value, dict) and (name := value.get("generator")) not in list(GENERATORS):
        names = f"there are {', '.join(GENERATORS)}"
        raise ValueError(
            f"there is no generator `{name}`; {names}{suggestion(name, GENERATORS)}"
            if isinstance(name, str)
            else f"`generator` must name one; {names}"
        )
    return value


def _which(value: Any) -> str:
    name = value["generator"] if isinstance(value, dict) else getattr(value, "generator", None)
    return GENERATORS[name].__name__ if name else "str"


# The discriminator picks the generator by name, so that a wrong option is reported once, for that generator alone.
if TYPE_CHECKING:
    GeneratorSource = str | Generator
else:
    GeneratorSource = Annotated[
        Union[Annotated[str, Tag("str")], *(Annotated[kind, Tag(kind.__name__)] for kind in GENERATORS.values())],
        Discriminator(_which),
        BeforeValidator(_known),
    ]

__all__ = ["GENERATORS", "Generator", "GeneratorSource"]
