"""scikit-learn's classifiers and regressors with their parameters, from a list: to import scikit-learn for a look at a conf takes seconds.

To renew the list after a new release: python -m keyfold.models.estimators > lib/keyfold/models/estimators.json
"""

import json
from functools import cache
from importlib import resources
from itertools import takewhile

from keyfold.errors import suggestion


@cache
def known_estimators() -> dict[str, list[str]]:
    """The parameters of each estimator by its full name, as of the release that conf/constraints.txt pins."""
    found: dict[str, list[str]] = json.loads(resources.files("keyfold.models").joinpath("estimators.json").read_text("utf-8"))
    return found


def full_names(name: str) -> list[str]:
    """The full names of estimators that end with this one."""
    return [full for full in known_estimators() if full.rpartition(".")[2].casefold() == name.casefold()]


def estimator_suggestion(name: str) -> str:
    """' (did you mean `x`?)' for the full name of an estimator that is spelled nearly so, or nothing."""
    short = {full.rpartition(".")[2]: full for full in known_estimators()}
    near = suggestion(name.rpartition(".")[2], short)
    return next((f" (did you mean `{full}`?)" for last, full in short.items() if f"`{last}`" in near), "")


def installed_estimators() -> dict[str, list[str]]:
    """The same as `listed`, from the release that is installed."""
    import inspect

    from sklearn.utils import all_estimators

    classes = [of for _, of in all_estimators(type_filter=["classifier", "regressor"])]
    public = {".".join([*takewhile(lambda p: p[0] != "_", of.__module__.split(".")), of.__name__]): of for of in classes}
    return {name: list(inspect.signature(of).parameters) for name, of in sorted(public.items())}


if __name__ == "__main__":
    print(json.dumps(installed_estimators(), indent=None, separators=(",", ":")).replace("],", "],\n"))
