"""Image operations, against NumPy and Pillow."""

import numpy as np
import pytest
from PIL import Image

from images import WIDE
from keyfold.conf.use_case import parse_conf
from keyfold.errors import ConfError
from keyfold.imaging.operations import Operation


def after(image, *operations):
    for operation in operations:
        image = Operation.model_validate(operation).apply(image)
    return image


def test_sizes():
    assert after(WIDE, {"resize": {"width": 10, "height": 10}}).size == (10, 5)
    assert after(WIDE, {"resize": {"width": 10, "height": 10, "how": "exact"}}).size == (10, 10)
    filled = after(WIDE, {"resize": {"width": 10, "height": 10, "how": "fill"}})
    assert np.array_equal(filled, WIDE.resize((10, 10), Image.Resampling.LANCZOS, (10, 0, 30, 20))), "the middle"
    padded = np.asarray(after(WIDE, {"resize": {"width": 10, "height": 10, "how": "pad", "background": "#ff0000"}}))
    assert (padded[0] == [255, 0, 0]).all() and (padded[-1] == [255, 0, 0]).all()
    assert after(WIDE, {"thumbnail": 20}).size == (20, 10)
    assert after(WIDE, {"thumbnail": 400}).size == (40, 20)
    assert np.array_equal(after(WIDE, {"rotate": {"degrees": 90}}), np.rot90(np.asarray(WIDE)))
    assert np.array_equal(after(WIDE, {"crop": {"left": 3, "top": 2, "width": 5, "height": 4}}), np.asarray(WIDE)[2:6, 3:8])


def test_colours():
    gray = np.asarray(WIDE.convert("L"))
    assert np.array_equal(after(WIDE, {"convert": "gray"}), gray)
    assert np.asarray(after(WIDE, {"enhance": {"contrast": 0}})).std() < 1
    assert not np.asarray(after(WIDE, {"enhance": {"brightness": 0}})).any()
    plain = np.asarray(after(WIDE, {"enhance": {"colour": 0}}))
    assert (plain[..., 0] == plain[..., 1]).all()
    dull = Image.fromarray((gray // 4 + 90).astype(np.uint8))
    assert (np.asarray(after(dull, {"enhance": {"auto_contrast": True}})).min(), np.asarray(dull).min() >= 90) == (0, True)


def test_filters_are_pillows_and_leave_transparency_alone():
    spots = np.full((9, 9, 4), 200, np.uint8)
    spots[4, 4] = 0
    one = Image.fromarray(spots)
    assert np.asarray(after(one, {"filter": {"kind": "median", "radius": 1}}))[4, 4].tolist() == [200] * 4
    assert 0 < np.asarray(after(one, {"filter": {"kind": "blur", "radius": 1}}))[4, 4, 0] < 200
    edges = np.asarray(after(one, {"filter": {"kind": "edge"}}))
    assert edges[4, 3, 0] and not edges[2, 2, :3].any() and (edges[..., 3] == spots[..., 3]).all()
    assert np.asarray(after(one, {"filter": {"kind": "sharpen", "radius": 1}}))[4, 3, 0] > 200


@pytest.mark.parametrize(
    ("of", "said"),
    [
        ({"resize": {"width": 1, "height": 1}, "convert": "gray"}, "must name one of resize, crop"),
        ({}, "must name one of resize, crop"),
        ({"resize": {"width": 0, "height": 1}}, "images.operations.0.resize.width must be 1 or more (got 0)"),
        ({"convert": "grey"}, "images.operations.0.convert must be `gray`, `rgb` or `rgba` (got 'grey') (did you mean `gray`?)"),
    ],
)
def test_a_conf_that_cannot_be(of, said):
    conf = {"name": "x", "data": {"key": ["k"]}, "images": {"input_col": "p", "operations": [of]}}
    with pytest.raises(ConfError) as refused:
        parse_conf(conf)
    assert said in str(refused.value)
