"""The sections `view` and `data.views`."""

import pytest

from keyfold.conf.use_case import parse_conf
from keyfold.conf.views import ViewSource
from small_conf import faults, raw


def viewed(*views):
    return raw("data.views", [*views]) | {"data": {**raw()["data"], "time": "day", "views": [*views]}}


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("usage.features", {"table": "usage.features"}),
        ("conf/usage.yaml", {"conf": "conf/usage.yaml"}),
        ("usage.yml", {"conf": "usage.yml"}),
    ],
)
def test_a_view_is_a_table_or_the_conf_that_publishes_it(text, source):
    assert parse_conf(viewed(text)).data.views == [ViewSource(**source)] == parse_conf(viewed(source)).data.views


def test_impossible_views_are_refused():
    assert faults(viewed({"table": "a.b", "conf": "b.yaml"})) == [
        "data.views.0: must name one of table, conf (got table and conf)"
    ]
    assert faults(viewed("usage")) == ["data.views.0.table must be like `usage.features` (got 'usage')"]
    assert faults(raw("data.views", ["a.b"])) == ["data: `views` need `time`, the column with the date or time of each row"]
    assert faults(raw("view", {"ttl": "0 days"})) == ["view.ttl must be like `30 days` (got '0 days')"]
