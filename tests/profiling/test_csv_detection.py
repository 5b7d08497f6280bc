"""The form of a CSV file is found from its first bytes."""

from pathlib import Path

import pytest

from keyfold.errors import ConfError, DataError
from keyfold.profiling.csv_detection import detect_form, encoding_fault, encoding_of
from keyfold.readers.csv_options import CsvOptions


def detected(path: Path, content: str | bytes, default: str = ",", **options: object) -> dict[str, object]:
    """The options that differ from their defaults."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    head = detect_form(str(path), CsvOptions.model_validate(options), default)
    assert head.form.names == ()
    return head.form.csv.model_dump(exclude_defaults=True)


@pytest.mark.parametrize(
    ("content", "default", "options"),
    [
        ("a,b\n1,2\n", ",", {}),
        ("a;b,c;d\n1;2;3\n", ",", {"delimiter": ";"}),
        ("a|b\n1|2\n", ",", {"delimiter": "|"}),
        ("a;b\n1;2\n", "\t", {"delimiter": "\t"}),
        ("sep=^\na^b\n1^2\n", ",", {"delimiter": "^"}),
        ('a,"b\nc"\n1,2\n', ",", {"multi_line": True}),
        ('a,b\n1,"x \\" y"\n', ",", {"escape": "\\"}),
        ('a,b\n1,"x "" y"\n', ",", {}),
        ("a,b\n1,NA\n" + "2,3\n3,4\n", ",", {"null_values": ["NA"]}),
        ('a,b\n1,"NA"\n' + "2,3\n3,4\n", ",", {}),
    ],
)
def test_the_form(tmp_path: Path, content: str, default: str, options: dict[str, object]) -> None:
    assert detected(tmp_path / "a.csv", content, default) == options


def test_a_line_with_the_delimiter_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("sep=;\na;b\n1;2\n")
    assert detect_form(str(tmp_path / "a.csv"), CsvOptions(), ",").skipped == "sep=;"


def test_another_encoding_is_advised_with_the_word_that_it_gives(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"a\.csv, line 1 is not UTF-8 \(byte 0xfc\); save the file as UTF-8 or name its encoding"
    ):
        detected(tmp_path / "a.csv", "größe,x\n1,2\n".encode("latin-1").replace(b"\xf6", b"\xfc"))
    (tmp_path / "b.csv").write_bytes(b"a\nplain\n5 \x80 each\n")
    assert str(encoding_fault(str(tmp_path / "b.csv"), "utf-8")).endswith(
        "line 3 is not UTF-8 (byte 0x80); it looks like Windows-1252, in which this is `€`: try `--encoding windows-1252`"
    )
    assert encoding_fault(str(tmp_path / "b.csv"), "windows-1252") is None
    assert detected(tmp_path / "c.csv", "größe\n1\n".encode("cp1252"), encoding="cp1252") == {"encoding": "windows-1252"}


def test_an_unknown_encoding_is_refused() -> None:
    assert encoding_of("Latin-1") == "iso-8859-1"
    with pytest.raises(ConfError, match=r"--encoding must be an encoding that Python knows.*got `klingon`"):
        encoding_of("klingon")
