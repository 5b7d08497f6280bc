"""The list of a model's versions, and the choice of the champion by hand."""

import pytest

from keyfold.errors import ConfError, DataError
from keyfold.tracking import registry
from keyfold.tracking.versions import describe_versions, promote_version


@pytest.fixture
def versions(home):
    """Two versions of a model `shop`, of which the first has measured itself."""
    client = registry.client()
    client.create_registered_model("shop")
    experiment = client.create_experiment("shop")
    for auc in (0.8, 0.7):
        run = client.create_run(experiment)
        for name, value in {"test_roc_auc": auc, "test_roc_auc_low": auc - 0.01, "test_roc_auc_high": auc + 0.01}.items():
            client.log_metric(run.info.run_id, name, value)
        client.create_model_version("shop", "nowhere", run.info.run_id)


def test_versions_are_listed_newest_first_with_their_metrics_and_the_champion(versions):
    assert promote_version("models:/shop/1") == "shop version 1 is the champion"
    newest, oldest = describe_versions("shop")
    assert newest.startswith("shop version 2  20") and "roc_auc 0.700 (0.690 – 0.710)" in newest
    assert oldest.startswith("shop version 1  20") and "roc_auc 0.800 (0.790 – 0.810)  champion" in oldest


def test_a_version_is_promoted_and_rolled_back(versions):
    promote_version("models:/shop/1")
    assert promote_version("models:/shop/2") == "shop version 2 is the champion in place of shop version 1"
    assert promote_version("models:/shop@champion") == "shop version 2 is the champion already"
    assert promote_version("models:/shop/1") == "shop version 1 is the champion in place of shop version 2"
    assert registry.champion_of("shop").version == "1"


def test_what_is_not_there_is_an_error_and_changes_nothing(versions):
    promote_version("models:/shop/1")
    with pytest.raises(DataError, match="there is no model `models:/shop/7`"):
        promote_version("models:/shop/7")
    with pytest.raises(ConfError, match="a model is named by"):
        promote_version("shop")
    with pytest.raises(DataError, match=r"there is no registered model `shoe`; there are: shop \(did you mean `shop`\?\)"):
        describe_versions("shoe")
    assert registry.champion_of("shop").version == "1"
