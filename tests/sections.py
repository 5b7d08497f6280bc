"""Sections of confs in tests."""


def data_and_label(options):
    """The sections `data` and `label` of the options of both: `label` names the column, `positive` its positive class."""
    data = {name: value for name, value in options.items() if name not in ("label", "positive")}
    column, positive = options.get("label"), options.get("positive")
    label = column if positive is None or column is None else {"column": column, "positive": positive}
    return {"data": data} | ({} if label is None else {"label": label})
