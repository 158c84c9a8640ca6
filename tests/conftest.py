"""Fixtures for all tests: real data when it is at hand, seeded generators, no network."""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"
if not os.environ.get("GENOMELM_DATA") and (BESIDE / "MANIFEST.tsv").is_file():
    os.environ["GENOMELM_DATA"] = str(BESIDE)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real data; without it the test is skipped, loudly."""
    folder = os.environ.get("GENOMELM_DATA")
    if not folder:
        warnings.warn("GENOMELM_DATA is not set: tests on real data are skipped", stacklevel=2)
        pytest.skip("needs real data: set GENOMELM_DATA to the folder that holds it")
    return Path(folder)


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator with a fixed seed, new for every test."""
    return np.random.default_rng(20260101)
