"""The classifiers and regressors of scikit-learn with their parameters, read from a list: importing scikit-learn takes seconds.

To update the list after a new release: python -m keyfold.models.estimators > lib/keyfold/models/estimators.json
"""

import json
from functools import cache
from importlib import resources
from itertools import takewhile

from keyfold.errors import suggestion


@cache
def known_estimators() -> dict[str, list[str]]:
    """Parameter names by the full name of each estimator, of the release that conf/constraints.txt pins."""
    parameters: dict[str, list[str]] = json.loads(
        resources.files("keyfold.models").joinpath("estimators.json").read_text("utf-8")
    )
    return parameters


def full_names(name: str) -> list[str]:
    """The full names of the estimators with this class name, ignoring case."""
    return [full for full in known_estimators() if full.rpartition(".")[2].casefold() == name.casefold()]


def estimator_suggestion(name: str) -> str:
    """' (did you mean `x`?)' with the full name of an estimator that is spelled similarly, or an empty text."""
    short = {full.rpartition(".")[2]: full for full in known_estimators()}
    near = suggestion(name.rpartition(".")[2], short)
    return next((f" (did you mean `{full}`?)" for last, full in short.items() if f"`{last}`" in near), "")


def installed_estimators() -> dict[str, list[str]]:
    """Parameter names by the full name of each estimator, of the installed release."""
    import inspect

    from sklearn.utils import all_estimators

    classes = {
        ".".join([*takewhile(lambda part: part[0] != "_", cls.__module__.split(".")), cls.__name__]): cls
        for _, cls in all_estimators(type_filter=["classifier", "regressor"])
    }
    return {name: list(inspect.signature(cls).parameters) for name, cls in sorted(classes.items())}


if __name__ == "__main__":
    print(json.dumps(installed_estimators(), indent=None, separators=(",", ":")).replace("],", "],\n"))
