"""Generators with plain arguments, and the tables of their blocks."""

import pyarrow as pa

from keyfold.generators import GENERATORS

SIZES = {
    "telecom": "customers",
    "clicks": "rows",
    "shop": "rows",
    "retail": "rows",
    "cards": "rows",
    "houses": "rows",
    "mail": "rows",
    "news": "rows",
    "reviews": "rows",
}


def make(name, things=200_000, seed=0, **options):
    return GENERATORS[name](generator=name, seed=seed, **{SIZES[name]: things}, **options)


def blocks(generator, numbers):
    return pa.Table.from_batches([generator.block(n, generator.size) for n in numbers])
