"""Text as YAML."""

import yaml
from hypothesis import given
from hypothesis import strategies as st

from keyfold.conf.yaml import parse_yaml
from keyfold.profiling.yaml_text import yaml_scalar


@given(st.text(max_size=30).filter(lambda text: not any(0xD800 <= ord(c) < 0xE000 for c in text)))
def test_any_text_survives_quoting(text: str) -> None:
    line = f"{{input_col: {yaml_scalar(text)}}}  # {yaml_scalar(text)}"
    assert yaml.safe_load(line) == parse_yaml(line) == {"input_col": text}
