"""Charts: text, accessibility, and points for hovering."""

import json
import re
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from html_page import NASTY
from keyfold.reporting import charts

pytestmark = pytest.mark.filterwarnings("error")  # of matplotlib and NumPy: a run's log stays quiet


def test_pictures_show_dollar_signs_as_they_are():
    svg = charts.figure_html(lambda ax: ax.set(title="$\\alpha$ and $x_1$", xlabel=NASTY), caption="c")
    assert ">$\\alpha$ and $x_1$<" in svg
    assert "&lt;script&gt;" in svg


def test_text_that_looks_like_an_identifier_stays():
    assert 'id="a" url(#b)' in charts.figure_html(lambda ax: ax.set_title('id="a" url(#b)'), caption="c")


def test_a_figure_can_be_seen_and_heard():
    made = charts.figure_html(
        lambda ax: (ax.plot([0, 1, 2], [1, 2, 3], label="</script> & more"), ax.set_ylabel("y")),
        caption='a "b" <c>',
        width=300,
        height=200,
    )
    figure = ET.fromstring(made)
    svg, caption, script = figure
    assert (svg.get("role"), svg.get("aria-label"), caption.text) == ("img", 'a "b" <c>', 'a "b" <c>')
    assert (svg.get("viewBox"), svg.get("width")) == ("0 0 300 200", "300")
    assert "<metadata" not in made
    assert "<style" not in made
    assert json.loads(script.text)["series"][0][0] == "</script> & more"


def test_points_for_hovering_are_those_of_the_picture():
    def draw(ax):
        ax.plot([0, 0.5, 1], [0, 0.123, 1], label="model")
        ax.plot([0, 1], [0, 1], label="chance")
        ax.set(xlabel="x", ylabel="y", xlim=(0, 1), ylim=(0, 1))
        ax.xaxis.set_major_formatter("{x:.0%}")

    made = charts.figure_html(draw, caption="c", width=300, height=200)
    points = json.loads(ET.fromstring(made)[2].text)
    ((name, ((left, top, *first), middle, (right, bottom, *last))),) = points["series"]
    assert (name, first, middle[2:], last) == ("model", ["0.0%", "0"], ["50.0%", "0.123"], ["100.0%", "1"])
    (line,) = re.findall(r'd="M ([\d.]+) ([\d.]+) \nL [\d. ]+\nL ([\d.]+) ([\d.]+)\s*"', made)
    assert np.allclose([left, top, right, bottom], [float(number) for number in line], atol=0.1)


def test_baselines_and_bars_with_labels_are_not_hovered():
    drawn = charts.figure_html(lambda ax: charts.bar_chart(ax, ["a"], [1], ["1"], title="t", x="x"), caption="c")
    assert "<script" not in drawn


def test_lines_without_a_name_are_not_hovered():
    assert "<script" not in charts.figure_html(lambda ax: (ax.plot([0, 1, 2], [1, 2, 3]), ax.set_ylabel("y")), caption="c")


def test_colours_follow_the_theme_in_pictures_but_not_in_text():
    made = charts.figure_html(lambda ax: (ax.plot([1, 2], color=charts.BLUE), ax.set_title("fill: #0072b2")), caption="c")
    assert "stroke: var(--blue, #0072b2)" in made
    assert ">fill: #0072b2<" in made
