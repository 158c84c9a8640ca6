"""Scales of expression tables: recognised by sums and floors, inverted only when asked."""

import math

import numpy as np
import pytest

from genomelm_utils.datasets.expression_scale import (
    RAW,
    SCALES,
    UNKNOWN,
    LogScale,
    invert_scale,
    measure_scales,
    parse_scale,
    recognise_scale,
)


@pytest.fixture
def tpm_GT(rng):
    """TPM of 3,000 genes in 4 samples, 30 % zeros, every sample summing to 1e6."""
    values_GT = rng.lognormal(1.0, 2.0, (3000, 4))
    values_GT[rng.random(values_GT.shape) < 0.3] = 0
    return values_GT / values_GT.sum(axis=0) * 1e6


def test_the_number_on_the_floor():
    """log2(0.001) = -9.965784 stands for zero; ln(0.001) = -6.907755."""
    assert LogScale("log2", 0.001).apply(np.zeros(1))[0] == pytest.approx(-9.965784, abs=1e-6)
    assert LogScale("ln", 0.001).apply(np.zeros(1))[0] == pytest.approx(-6.907755, abs=1e-6)


def test_names_are_read_back():
    for scale in SCALES:
        assert parse_scale(scale.name) == scale
    assert parse_scale(RAW) is None
    assert parse_scale("log10(x+0.5)") == LogScale("log10", 0.5)
    assert LogScale("ln", 1.0, times=2).name == "ln(ln(x+1)+1)"
    with pytest.raises(ValueError, match="scale is 'log', expected raw or a form such as"):
        parse_scale("log")


@pytest.mark.parametrize("scale", SCALES, ids=lambda scale: scale.name)
def test_every_scale_is_recognised_and_undone(tpm_GT, scale):
    values_GT = scale.apply(tpm_GT)
    name, why = recognise_scale(values_GT)
    assert name == scale.name
    assert "sum to 1e+06" in why
    np.testing.assert_allclose(invert_scale(values_GT, name), tpm_GT, rtol=1e-6, atol=1e-9)


def test_raw_tables_are_raw(tpm_GT):
    assert recognise_scale(tpm_GT)[0] == RAW
    assert recognise_scale(tpm_GT[:200]) == (
        RAW,
        f"nothing is negative; samples sum to {np.median(tpm_GT[:200].sum(axis=0)):.4g}, "
        "so a part of a table",
    )


def test_a_part_of_a_table_is_told_by_its_floor(tpm_GT):
    part_GT = np.round(LogScale("log2", 0.001).apply(tpm_GT[:300]), 6)
    name, why = recognise_scale(part_GT)
    assert name == "log2(x+0.001)"
    assert why.startswith("the lowest value is -9.965784 = log2(x+0.001) of 0, on which ")
    raw_GT = invert_scale(part_GT, name)
    np.testing.assert_allclose(raw_GT, tpm_GT[:300], rtol=1e-4)
    assert (raw_GT[tpm_GT[:300] == 0] == 0).all()  # exactly


def test_negative_values_without_a_known_floor_are_unknown(tpm_GT):
    name, why = recognise_scale(np.log(tpm_GT[:300] + 0.037))
    assert name == UNKNOWN
    assert "the floor of no known log scale" in why


def test_measures_are_what_they_say():
    table = measure_scales(np.array([[0.0, math.log(3)], [np.nan, 0.0]])).set_index("scale")
    assert table.loc["ln(x+1)", "median_sum"] == pytest.approx(1)  # 0 and 2
    assert table.loc["ln(x+1)", "share_at_floor"] == pytest.approx(2 / 3)
    assert table.loc[RAW, "floor"] == 0


def test_inverting_what_cannot_stand_there_is_refused(tpm_GT):
    with pytest.raises(ValueError, match=r"1 values, such as -1, cannot stand on the scale ln\(x"):
        invert_scale(np.array([0.5, -1.0]), "ln(x+1)")
    with pytest.raises(ValueError, match=r"cannot stand on the scale log2\(x\+0.001\).*like raw"):
        invert_scale(tpm_GT, "log2(x+0.001)")
    with pytest.raises(ValueError, match="cannot stand on the scale raw"):
        invert_scale(np.array([-9.97]), RAW)
    assert invert_scale(np.array([0.5, np.nan]), RAW)[0] == 0.5
