"""The page: what it says, that it is well formed and whole in itself, and that no name can break it."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from keyfold.evaluation.metrics import Metric, Slice
from keyfold.reporting import charts
from keyfold.reporting import page as report
from keyfold.reporting.sections import (
    classification_sections,
    features_section,
    folds_section,
    metrics_section,
    reconciliation_section,
    scores_section,
    slices_section,
    steps_section,
)

NASTY = """<script>alert("x")</script> $\\alpha$ & 'q' $"""
VOID = {"meta", "link"}
pytestmark = pytest.mark.filterwarnings("error")  # of matplotlib and NumPy: a run's log stays quiet


class Reader(HTMLParser):
    """Collects tags, ids and text; fails on tags that are not closed in their order."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.ids, self.links, self.words = [], [], [], [], []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.open += [] if tag in VOID else [tag]
        for name, value in attrs:
            self.ids += [value] if name == "id" else []
            self.links += [value] if name in {"href", "src", "xlink:href"} else []

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.open = self.open[:-1]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join("".join(self.words).split())


def metrics(value=0.8421, low=0.8311, high=0.8529):
    return {"roc_auc": Metric(value, low, high), "log_loss": Metric(0.3, 0.2, 0.4)}


def sections(name):
    rng = np.random.default_rng(0)
    truth = rng.beta(1, 3, 500)
    y = rng.random(500) < truth
    edges = np.linspace(0, 1, 21)
    return [
        reconciliation_section({"read": 12_345, "kept": 12_340, name: 5}, {name: 5}),
        folds_section([("train", 800, 90), (name, 200, 15)], {"train": 0.8, name: 0.2}),
        features_section([{"name": name, "kind": "crossed", "inputs": [name, "b"], "width": 4096, "note": name}]),
        metrics_section({"train": metrics(), name: metrics()}),
        *classification_sections(y, truth, truth),
        slices_section(name, {name: Slice(10, metrics()), "(missing)": Slice(5, metrics(*[np.nan] * 3))}),
        scores_section(edges, np.histogram(truth, edges)[0]),
        steps_section([(name, None, 0.25), ("fit", 1000, 2.0)]),
        report.PageSection(name, report.html_table([name], [[name]], caption=name)),
    ]


@pytest.fixture(scope="module")
def nasty():
    return report.render_page(NASTY, {NASTY: NASTY}, sections(NASTY), lead=NASTY)


def test_names_cannot_break_the_page(nasty):
    read = Reader(nasty)
    assert "script" not in read.tags
    assert nasty.count("alert") > 20
    assert len(re.findall(r"\$\\alpha\$ &amp; ", nasty)) > 20


def test_pictures_show_dollar_signs_as_they_are():
    svg = charts.figure_html(lambda ax: ax.set(title="$\\alpha$ and $x_1$", xlabel=NASTY), caption="c")
    assert ">$\\alpha$ and $x_1$<" in svg
    assert "&lt;script&gt;" in svg


def test_page_is_whole_in_itself(nasty):
    read = Reader(nasty)
    assert not {"img", "iframe", "object", "style-src"} & set(read.tags)
    assert read.tags.count("link") == 1
    assert all(link.startswith(("#", "data:")) for link in read.links)
    assert not re.search(r"url\((?!#)|@import", nasty)
    assert "default-src 'none'" in nasty


def test_identifiers_are_unique_and_resolve(nasty):
    read = Reader(nasty)
    assert len(read.ids) == len(set(read.ids)) > 50
    used = {link[1:] for link in read.links if link.startswith("#")} | set(re.findall(r"url\(#([^)]+)\)", nasty))
    assert used <= set(read.ids)


def test_text_that_looks_like_an_identifier_stays():
    assert 'id="a" url(#b)' in charts.figure_html(lambda ax: ax.set_title('id="a" url(#b)'), caption="c")


def test_sections_are_ordered_by_topic_with_their_title():
    made = sections("b")
    page = report.render_page("churn: score", {"rows": 1_234_567, "promoted": True, "none": None}, made, lead="Who leaves?")
    topics = [section.topic for section in sorted(made, key=lambda section: page.index(section.html))]
    assert topics == ["metrics", "curves", "slices", "predictions", "features", "data", "data", "folds", "time"]
    text = Reader(page).text
    for said in ("churn: score", "Who leaves?", *(section.title for section in made)):
        assert said in text
    assert re.findall("<dd>(.*?)</dd>", page) == ["1,234,567", "yes", "–"]


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        (1_234_567, "1,234,567"),
        (np.int64(1000), "1,000"),
        (0.123456, "0.1235"),
        (123456.7, "123,457"),
        (0.0000123456, "0.00001235"),
        (1.23456e-9, "1.235e-09"),
        (0.0, "0.0000"),
        (np.float32(2.5), "2.500"),
        (float("nan"), "–"),
        (float("-inf"), "-∞"),
        (None, "–"),
        (True, "yes"),
        (np.bool_(False), "no"),
        ("text", "text"),
        (Metric(0.8421, 0.8311, 0.8529), "0.842 (0.831 – 0.853)"),
        (Metric(0.08421, 0.0831, 0.0853), "0.0842 (0.0831 – 0.0853)"),
        (Metric(25.31, 24.0, 27.19), "25.3 (24.0 – 27.2)"),
        (Metric(12345.6, 12000, 13000), "12,346 (12,000 – 13,000)"),
        (Metric(0.8421, np.nan, np.nan), "0.842"),
        (Metric(np.nan, np.nan, np.nan), "–"),
        ("<b>", "&lt;b&gt;"),
    ],
)
def test_cells(cell, shown):
    assert re.findall(r"<td[^>]*>(.*?)</td>", report.html_table(["h"], [[cell]])) == [shown]


def test_columns_of_numbers_stand_right():
    made = report.html_table(["a", "b", "c", "d"], [["x", 1, None, "1.25%"], ["y", Metric(1, 1, 1), 2.5, ">99.99%"]])
    assert re.findall(r"<th( class=\"n\")?", made) == ["", "", ' class="n"', ' class="n"', ' class="n"']
    assert made.count('<td class="n">') == 6


def test_a_table_may_be_empty_but_not_ragged():
    assert "<tbody></tbody>" in report.html_table(["a", "b"], [])
    with pytest.raises(ValueError, match="must have 2 cells"):
        report.html_table(["a", "b"], [[1, 2], [3]])


def test_a_figure_can_be_seen_and_heard():
    made = charts.figure_html(lambda ax: ax.plot([1, 2]), caption='a "b" <c>', width=300, height=200)
    figure = ET.fromstring(made)
    svg, caption = figure
    assert (svg.get("role"), svg.get("aria-label"), caption.text) == ("img", 'a "b" <c>', 'a "b" <c>')
    assert (svg.get("viewBox"), svg.get("width")) == ("0 0 300 200", "300")
    assert "<metadata" not in made
    assert "<style" not in made


def test_same_data_same_bytes_whatever_the_settings():
    import matplotlib as mpl

    once = report.render_page("t", {}, sections("b"))
    with mpl.rc_context({"font.size": 30, "axes.linewidth": 9}):
        assert report.render_page("t", {}, sections("b")) == once
        assert mpl.rcParams["font.size"] == 30
    assert not re.search(r"20\d\d-\d\d-\d\d", once)


def test_reconciliation_says_whether_it_adds_up():
    right = reconciliation_section({"read": 1000, "kept": 998, "quarantined": 2}, {"few": 1, "many": 7, "also": 1})
    assert "1,000 read = 998 kept + 2 quarantined" in right.html
    assert "✓" in right.html
    assert re.findall("<td>(many|also|few)", right.html) == ["many", "also", "few"]
    wrong = reconciliation_section({"read": 1000, "kept": 990}, {}, title="Rows scored")
    assert "10 rows are unaccounted for" in wrong.html
    assert 'class="note bad"' in wrong.html
    assert "quarantined" not in wrong.html
    assert wrong.title == "Rows scored"


def test_a_share_is_never_rounded_to_all_or_nothing():
    html = reconciliation_section({"read": 1_000_000, "kept": 999_999, "quarantined": 1}, {}).html
    for share in ("100.00%", "&gt;99.99%", "&lt;0.01%"):
        assert share in html
    assert "0.00%" in reconciliation_section({"read": 10, "kept": 10, "quarantined": 0}, {}).html


def test_folds_tell_share_and_rate():
    text = Reader(folds_section([("train", 750, 150), ("test", 250, None)], {"train": 0.8, "test": 0.2}).html).text
    assert re.search(r"train\s*750\s*75.00%\s*80.00%\s*150\s*20.00%", text)
    assert re.search(r"test\s*250\s*25.00%\s*20.00%\s*–\s*–", text)


def test_features_join_their_inputs():
    html = features_section([{"name": "f", "kind": "crossed", "inputs": ["a", "b"], "width": 4096}]).html
    assert "a, b" in html
    assert "4,096" in html


def test_four_curves_are_drawn_and_the_truth_if_known():
    y, p = np.array([0, 1, 0, 1]), np.array([0.1, 0.9, 0.4, 0.3])
    plain, known = classification_sections(y, p)[0], classification_sections(y, p, p)[0]
    for title in ("ROC curve", "Precision and recall", "Calibration", "Lift"):
        assert title in plain.html
    assert "true probability" not in plain.html
    assert ">true probability<" in known.html
    assert "base rate, 50.0%" in plain.html


@pytest.mark.parametrize("y", [[], [1, 1], [0, 0]])
def test_one_class_has_no_curves(y):
    (section,) = classification_sections(y, [0.5] * len(y))
    html = section.html
    assert "both classes" in html
    assert "<svg" not in html


def test_metrics_of_folds_may_differ():
    html = metrics_section({"train": {"rmse": Metric(1, 1, 1)}, "test": {"mine": Metric(2, 2, 2)}}).html
    assert re.findall(r"<td[^>]*>(.*?)</td>", html) == ["RMSE ↓", "1.00 (1.00 – 1.00)", "–", "mine", "–", "2.00 (2.00 – 2.00)"]


def test_slices_without_a_known_metric_have_no_picture():
    found = {"a": Slice(3, metrics(*[np.nan] * 3))}
    assert "<svg" not in slices_section("c", found).html
    assert "<svg" in slices_section("c", {**found, "b": Slice(9, metrics())}).html
    assert slices_section("c", {}).title == "By c"


def test_long_names_are_cut_in_pictures_only():
    html = steps_section([("x" * 50, 1, 1.0)]).html
    assert "x" * 50 in html
    assert f">{'x' * 31}…<" in html


def test_steps_survive_no_time_and_no_rows():
    html = steps_section([("a", 0, 0.0), ("b", None, 0.0)]).html
    assert "0.0 seconds in all" in html
    assert "500.0" in steps_section([("a", 1000, 2.0)]).html
    assert steps_section([]).title == "Time"


def test_empty_counts_draw():
    assert "<svg" in scores_section([0, 0.5, 1], [0, 0]).html
    assert "<svg" in folds_section([("train", 0, 0)], {"train": 1.0}).html
    assert "<svg" in reconciliation_section({"read": 0, "kept": 0}, {}).html


def test_import_is_cheap():
    heavy = "{'matplotlib', 'jinja2', 'pandas', 'sklearn', 'pyspark', 'mlflow'}"
    code = f"import sys, keyfold.reporting.page; print(sorted({heavy} & set(sys.modules)))"
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": ":".join(sys.path)}
    )
    assert ran.stdout == "[]\n"
