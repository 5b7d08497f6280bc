"""A small model that was fitted without Spark."""

import numpy as np
import pandas as pd
import pyarrow as pa

from keyfold.features.certificate import Certificate, adversarial_rows
from keyfold.features.fitting import FeatureStatistics
from keyfold.features.kinds import KINDS
from keyfold.features.spec import FittedFeature, Spec
from keyfold.labels import Binary
from keyfold.models.examples import Examples
from keyfold.models.model import Model
from keyfold.models.sklearn import Sklearn

ROWS = pd.DataFrame({"city": ["a", "b", "c", None] * 10, "plan": range(40)})


def shop_model():
    kinds = {
        name: KINDS["hashed"].model_validate({"input_col": name, "num_buckets": n}) for name, n in (("city", 16), ("plan", 8))
    }
    spec = Spec(
        {"city": "string", "plan": "bigint"},
        {name: FittedFeature(kind, kind.fit(name, FeatureStatistics([], []))) for name, kind in kinds.items()},
    )
    hard = adversarial_rows(spec)
    certificate = Certificate(hard, pa.table(dict(spec.arrow(hard))))
    conf = Sklearn(estimator="sklearn.linear_model.LogisticRegression")
    label = Binary("boolean", True, False)
    estimator = conf.fit(spec, Examples(spec.arrow(ROWS), np.arange(40) % 3 == 0, None, label, np.arange(40)), 1)
    return Model(spec, estimator, label, certificate)
