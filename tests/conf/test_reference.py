"""Each option has a description, and the reference is that of the schema."""

import keyfold
from keyfold.conf import reference
from keyfold.conf.use_case import Conf

SCHEMA = Conf.model_json_schema()


def options():
    for name, section in {"Conf": SCHEMA, **SCHEMA["$defs"]}.items():
        yield from ((f"{name}.{option}", of) for option, of in section.get("properties", {}).items())


def test_each_option_has_a_description():
    assert [name for name, of in options() if not reference.description(of, SCHEMA)] == []


def test_the_reference_lists_each_section_and_option():
    listed = [option.name for _, _, section in reference.sections(SCHEMA) for option in section]
    assert len(listed) == len(list(options()))


def test_the_reference_is_current():
    path = f"{keyfold.__path__[0]}/conf/REFERENCE.md"
    with open(path, encoding="utf-8") as file:
        current = file.read() == reference.render(SCHEMA)
    assert current, "python -m keyfold.conf.reference > lib/keyfold/conf/REFERENCE.md"
