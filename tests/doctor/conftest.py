from pathlib import Path

import pytest
from broken_stores import study, write_store


@pytest.fixture
def store(tmp_path) -> Path:
    """Twelve good rows: 8 train, 2 valid, 2 test."""
    return write_store(tmp_path / "store", [study(number) for number in range(12)])
