"""Columns that identify people."""

from drafts import Draw, frame


def test_columns_that_identify_people_are_left_out(draw: Draw) -> None:
    n = range(400)
    names = [f"{a} {b}" for a in ("Ann", "bob", "EVE", "Zoë") for b in ("Li", "O'Hara", "de Vries", "Smith-Jones", "Ok")] * 20
    text, conf = draw(
        frame(
            name=names, last_name=[f"S{i % 50}" for i in n], contact=[f"a{i}@b.example" for i in n], phone=[f"0{i + 1000}" for i in n],
            home=[f"{i % 90 + 1} High Street" for i in n], host=[f"10.0.0.{i % 200}" for i in n],
            birth_date=[f"19{i % 90 + 10}-03-01" for i in n], product_name=[f"Widget {i % 30}" for i in n],
            address_change=["none", "1 year"] * 200, first=["yes", "no"] * 200,
        )
    )  # fmt: skip
    assert [*conf["features"]] == ["x", "product_name", "address_change", "first"]
    whats = {"name": "a name", "contact": "an e-mail address", "phone": "a telephone number", "home": "a postal address"}
    for name, what in (whats | {"host": "an IP address", "birth_date": "a date of birth", "last_name": "a name"}).items():
        assert f"  # {name} is left out: it looks like {what};" in text
