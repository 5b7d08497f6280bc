"""What tests of confs share."""

import pytest


@pytest.fixture
def write(tmp_path):
    """Writes a conf, as text or bytes, and returns its path."""

    def write(text):
        path = tmp_path / "mine.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write
