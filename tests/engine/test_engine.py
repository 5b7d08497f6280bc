"""What an engine knows of its machine."""

from keyfold.engine import engine


def test_memory_is_that_of_the_machine_or_of_its_container(tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "Path", lambda _, *parts: tmp_path.joinpath(*parts))
    machine = engine.memory()
    assert machine > 10**8
    for name, text, expected in (
        ("memory.max", "max\n", machine),
        ("memory.max", "8000000\n", 8_000_000),
        ("memory/memory.limit_in_bytes", "7000000", 7_000_000),
        ("memory/memory.limit_in_bytes", str(2**63), 8_000_000),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
        assert engine.memory() == expected
