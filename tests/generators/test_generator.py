"""All generators: unique keys, the same rows in any partitions, tables that grow without changing rows."""

import pyarrow as pa
import pytest
from pydantic import ValidationError

from generated import SIZES, blocks, make
from keyfold.generators import GENERATORS
from keyfold.generators.drawing import schema_of

KEYS = {
    "telecom": ["customer_id", "month"],
    "clicks": ["impression_id"],
    "shop": ["visit_id"],
    "retail": ["purchase_id"],
    "cards": ["transaction_id"],
    "houses": ["sale_id"],
    "mail": ["mail_id"],
    "news": ["article_id"],
    "reviews": ["review_id"],
}
names = pytest.mark.parametrize("name", KEYS)


@names
def test_a_larger_table_begins_with_the_smaller_one(name: str) -> None:
    few, more = make(name).block(3, 10), make(name).block(3, 900)
    assert more.slice(0, few.num_rows).equals(few)
    key = KEYS[name][0]
    assert few.column(key).unique().to_pylist() == more.column(key).unique().to_pylist()[:10]
    assert make(name, things=1).block(3, 10).equals(few)


@names
def test_seeds_and_blocks_differ(name: str) -> None:
    block = make(name).block(0, 1000)
    assert not block.equals(make(name, seed=1).block(0, 1000))
    assert not block.columns[-1].equals(make(name).block(1, 1000).columns[-1])
    assert make(name, seed=2**63 - 1).block(0, 1000).equals(make(name, seed=2**63 - 1).block(0, 1000))


@names
def test_keys_are_unique_and_some_exceed_a_double(name: str) -> None:
    rows = blocks(make(name), range(20)).to_pandas()
    assert not rows.duplicated(KEYS[name]).any()
    assert (rows[KEYS[name][0]] > 2**53).mean() > 0.4 and rows[KEYS[name][0]].min() > 0


@names
def test_engines_make_the_same_rows_in_any_number_of_tasks(engine, name: str) -> None:
    generator, things = make(name, things=4_010, seed=5), [1000] * 4 + [10]
    expected = pa.Table.from_batches([generator.block(n, size) for n, size in enumerate(things)])
    order = [(key, "ascending") for key in KEYS[name]]
    for tasks in (1, 3, 8):
        generated = generator.frame(engine, tasks).to_arrow().cast(schema_of(generator.types))
        assert generated.sort_by(order).equals(expected.sort_by(order))


@names
@pytest.mark.parametrize("wrong", [{"sede": 1}, {"seed": -1}, {"end": "2026-13"}, {"size": 0}])
def test_wrong_options_are_refused(name: str, wrong: dict[str, object]) -> None:
    wrong = {SIZES[name] if option == "size" else option: value for option, value in wrong.items()}
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        GENERATORS[name](generator=name, **wrong)
