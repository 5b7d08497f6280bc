"""Generated tables, `source: {generator: telecom, …}`. A new generator is a new file and a new entry in each list below."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Discriminator, Tag

from keyfold.errors import suggestion
from keyfold.generators.clicks import Clicks
from keyfold.generators.generator import Generator
from keyfold.generators.prices import Prices
from keyfold.generators.retail import Retail
from keyfold.generators.shop import Shop
from keyfold.generators.telecom import Telecom
from keyfold.generators.ticks import Ticks

GENERATORS: dict[str, type[Generator]] = {
    "telecom": Telecom, "clicks": Clicks, "shop": Shop, "retail": Retail, "prices": Prices, "ticks": Ticks,
}  # fmt: skip


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
GeneratorSource = Annotated[
    Annotated[str, Tag("str")]
    | Annotated[Telecom, Tag("Telecom")]
    | Annotated[Clicks, Tag("Clicks")]
    | Annotated[Shop, Tag("Shop")]
    | Annotated[Retail, Tag("Retail")]
    | Annotated[Prices, Tag("Prices")]
    | Annotated[Ticks, Tag("Ticks")],
    Discriminator(_which),
    BeforeValidator(_known),
]

__all__ = ["GENERATORS", "Clicks", "Generator", "GeneratorSource", "Prices", "Retail", "Shop", "Telecom", "Ticks"]
