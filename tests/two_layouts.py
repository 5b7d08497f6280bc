"""A conf of rows in two layouts, of which the older one has bridges."""

from sections import data_and_label

NEW = {"id": "string", "at": "timestamp_ntz", "amount": "bigint", "card": "string", "age": "double", "y": "string"}
OLD = {"no": "bigint", "start": "timestamp_ntz", "amount": "double", "code": "string", "kind": "string"}
FROM = {
    "id": {"derived": {"digest": ["no", "start"]}},
    "at": {"renamed": "start"},
    "amount": {"cast": "amount"},
    "card": {"mapped": "code", "values": {"C": "cash"}, "missing": "distribution"},
    "age": {"missing": "mean"},
    "y": {"mapped": "kind", "values": {"Subscriber": "member", "Customer": "casual"}},
}


def conf(folder, **more):
    versions = [{"name": "old", "files": ["old*.csv"], "columns": OLD, "weight": 0.5, "columns_from": FROM}]
    versions += [{"name": "new", "files": ["new*.csv"]}]
    data = {"source": str(folder), "columns": NEW, "versions": versions, "key": ["id"], "label": "y", "positive": "member"}
    data |= {"max_quarantine": 1} | more
    features = {"card": {"one_hot": {"input_col": "card"}}, "age": {"numeric": {"input_col": "age"}}}
    estimator = {"estimator": "sklearn.linear_model.LogisticRegression"}
    share = {"train": 0.6, "validation": 0.2, "test": 0.2}
    made = {"name": "two", **data_and_label(data), "split": {"share": share}, "features": features}
    return made | {"train": {"model": {"sklearn": estimator}}}
