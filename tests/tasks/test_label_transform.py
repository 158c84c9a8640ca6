"""Label transforms: hand-checked numbers, inverse, fitting on measured values only, JSON."""

import json

import numpy as np
import pytest

from genomelm_utils.tasks.label_transform import FIT_ROWS, OFFSETS, LabelTransform

TISSUES = ("root", "leaf")


def test_hand_checked_numbers():
    plain = LabelTransform(TISSUES)
    assert plain.apply([[0.0, np.e - 1]]).tolist() == [[0.0, 1.0]]
    small = LabelTransform(TISSUES, offset=OFFSETS["reference"])
    assert small.apply([[0.0, 0.0]])[0] == pytest.approx(-6.907755, abs=1e-6)
    assert OFFSETS["corrected"] == 1.0


def test_base_is_only_a_unit(rng):
    true, predicted = rng.gamma(0.5, 20, size=(2, 200, 2))
    errors = {}
    for base in ("e", "10", "2"):
        change = LabelTransform(TISSUES, base=base)
        y, p = (change.apply(x).astype(np.float64) for x in (true, predicted))
        errors[base] = ((y - p) ** 2).mean()
    assert errors["10"] / errors["e"] == pytest.approx(0.188612, abs=1e-6)
    assert 2.4 * errors["10"] / errors["e"] == pytest.approx(0.4527, abs=1e-4)
    assert errors["2"] > errors["e"]


@pytest.mark.parametrize("base", ["e", "2", "10"])
@pytest.mark.parametrize("standardise", [False, True])
def test_inverse_and_fit_with_missing_values(rng, base, standardise):
    tpm = rng.gamma(0.5, 40, size=(300, 2)).astype(np.float32)
    tpm[rng.random(tpm.shape) < 0.2] = np.nan
    change = LabelTransform.fit(tpm, TISSUES, offset=0.5, base=base, standardise=standardise)
    y = change.apply(tpm)
    assert y.dtype == np.float32
    assert (np.isnan(y) == np.isnan(tpm)).all()
    assert np.allclose(change.inverse(y), tpm, rtol=1e-4, atol=1e-4, equal_nan=True)
    assert change.standardised == standardise
    if standardise:
        assert np.nanmean(y, 0) == pytest.approx([0, 0], abs=1e-5)
        assert np.nanstd(y, 0) == pytest.approx([1, 1], abs=1e-5)
    assert change.threshold(3.0) == pytest.approx(change.apply([[3.0, 3.0]])[0])


def test_no_expression_below_zero_comes_back():
    assert LabelTransform(TISSUES).inverse([[-2.0, 0.0]]).tolist() == [[0.0, 0.0]]


def test_reference_fits_on_the_first_rows_only():
    n = FIT_ROWS["reference"]
    tpm = np.concatenate([np.zeros((n, 2)), np.full((n, 2), np.e - 1)])
    assert LabelTransform.fit(tpm, TISSUES, standardise=True).center_T == (0.5, 0.5)
    only = LabelTransform.fit(tpm, TISSUES, standardise=True, rows="reference")
    assert (only.center_T, only.scale_T) == ((0.0, 0.0), (1.0, 1.0))


def test_saved_as_json_and_read_back_exactly(rng, tmp_path):
    change = LabelTransform.fit(rng.gamma(1, 9, (50, 2)), TISSUES, standardise=True, base="10")
    path = change.save(tmp_path)
    assert LabelTransform.load(tmp_path) == change
    assert json.loads(path.read_text())["base"] == "10"
    path.write_text(path.read_text()[:20])
    with pytest.raises(ValueError, match=r"label_transform\.json is damaged"):
        LabelTransform.load(tmp_path)
    path.unlink()
    with pytest.raises(FileNotFoundError, match="predictions have no unit"):
        LabelTransform.load(tmp_path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LabelTransform(TISSUES, offset=0.0), "offset is 0.0, expected a number above 0"),
        (lambda: LabelTransform(TISSUES, base="3"), "base is '3', expected one of: e, 2, 10"),
        (lambda: LabelTransform(()), "at least one tissue"),
        (lambda: LabelTransform(TISSUES, center_T=(1.0,)), "1 centers and 2 scales for 2 tissues"),
        (
            lambda: LabelTransform(TISSUES).apply([[1, 2], [3, -9.97]]),
            r"row 1 \(0-based\), leaf: expression is -9.97, expected 0 or more; .* logarithmic",
        ),
        (lambda: LabelTransform(TISSUES).apply([[1.0]]), "expected 2 columns: root, leaf"),
        (
            lambda: LabelTransform.fit(np.full((3, 2), np.nan), TISSUES, standardise=True),
            "tissue 'root' has no value in the 3 rows",
        ),
        (
            lambda: LabelTransform.fit(np.ones((3, 2)), TISSUES, rows="all"),
            "rows is 'all', expected corrected or reference",
        ),
    ],
)
def test_wrong_input_says_what_is_wrong(make, message):
    with pytest.raises(ValueError, match=message):
        make()
