"""Functions over Arrow batches."""

import pyarrow as pa

from keyfold.engine.arrow import map_batches


def names_and_rows(batches):
    for batch in batches:
        yield pa.RecordBatch.from_pydict({"names": [batch.schema.names] * batch.num_rows, "x": batch.column("a.`b` c")})


def test_batches_have_the_names_of_the_frame(spark):
    frame = spark.range(2).select("id", "id").toDF("a.`b` c", "${x}")
    found = map_batches(frame, names_and_rows, "names array<string>, x bigint").collect()
    assert sorted(map(tuple, found)) == [(["a.`b` c", "${x}"], 0), (["a.`b` c", "${x}"], 1)]
