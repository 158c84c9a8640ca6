"""Targets, losses and predictions of every mode, against hand-made numbers and formulas."""

import math

import numpy as np
import pytest
import torch

from genomelm_utils.models.expression_heads import ExpressionOutput
from genomelm_utils.tasks.label_transform import LabelTransform
from genomelm_utils.tasks.regression_modes import MODES, Mode

TISSUES = ("root", "leaf")
LOG = LabelTransform(TISSUES)
TPM = np.array([[0.0, 1.0], [3.0, np.nan], [0.5, 20.0]], np.float32)


def output(values, gate=None) -> ExpressionOutput:
    gate = None if gate is None else torch.tensor(gate, dtype=torch.float32)
    return ExpressionOutput(torch.tensor(values, dtype=torch.float32), gate)


def losses(mode: Mode, out: ExpressionOutput) -> np.ndarray:
    targets = torch.from_numpy(mode.targets(TPM, LOG))
    threshold = torch.from_numpy(mode.threshold_labels(LOG))
    return mode.losses(out, targets, threshold).numpy()


VALUES = [[0.5, 1.0], [1.0, 2.0], [-0.5, 0.0]]
GATE = [[-1.0, 2.0], [0.5, 0.0], [1.0, -2.0]]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize("name", MODES)
def test_losses_are_the_formulas_and_missing_labels_cost_nothing(name):
    found = losses(Mode(name, huber_delta=0.6), output(VALUES, GATE))
    assert found[1, 1] == 0
    for row, column in ((0, 0), (0, 1), (1, 0), (2, 1)):
        x, v = float(TPM[row, column]), VALUES[row][column]
        y = math.log(x + 1)
        on = x >= 1
        bce = {
            "sparse": -math.log(sigmoid(GATE[row][column] * (1 if on else -1))),
            "classification": -math.log(sigmoid(v * (1 if on else -1))),
        }
        error = abs(y - v)
        expected = {
            "mse": error**2,
            "huber": error**2 / 2 if error <= 0.6 else 0.6 * (error - 0.3),
            "poisson": math.exp(v) - x * v,
            "classification": bce["classification"],
            "sparse": 0.1 * bce["sparse"] + 0.9 * error**2,
        }[name]
        assert found[row, column] == pytest.approx(expected, rel=1e-5)


def test_sparse_threshold_counts_the_offset_unless_reference():
    assert Mode("sparse").threshold_labels(LOG) == pytest.approx(math.log(2))
    reference = Mode("sparse", threshold="reference").threshold_labels(LOG)
    assert reference == pytest.approx(0)
    y = Mode("sparse").targets(TPM, LOG)
    assert (y[~np.isnan(y)] >= reference[0]).all()  # with the slip every gene is "expressed"
    standard = LabelTransform(TISSUES, 1.0, "10", (0.2, 0.1), (2.0, 3.0))
    assert Mode("sparse", 5.0).threshold_labels(standard)[1] == pytest.approx(
        (math.log10(6) - 0.1) / 3
    )
    assert Mode("sparse", 5.0, threshold="reference").threshold_labels(standard)[0] == (
        pytest.approx((math.log10(5) - 0.2) / 2)
    )


def test_predictions_of_every_mode():
    out = output(VALUES, GATE)
    assert Mode("mse").read(out, LOG) == pytest.approx(np.array(VALUES))
    small = LabelTransform(TISSUES, offset=0.001)
    sparse = Mode("sparse").read(out, small)
    assert sparse[0, 0] == pytest.approx(math.log(0.001))
    assert sparse[0, 1] == 1.0
    assert sparse[2, 1] == pytest.approx(-6.907755)
    assert Mode("poisson").read(out, LOG)[1, 1] == pytest.approx(math.log(math.exp(2) + 1))
    assert Mode("classification").read(out, LOG)[0, 0] == pytest.approx(sigmoid(0.5))
    for name in MODES:
        assert Mode(name).read(out, LOG).dtype == np.float32


def test_targets():
    assert Mode("poisson").targets(TPM, LOG)[2].tolist() == [0.5, 20.0]
    found = Mode("classification").targets(TPM, LOG)
    assert found[[0, 0, 1, 2, 2], [0, 1, 0, 0, 1]].tolist() == [0, 1, 1, 0, 1]
    assert np.isnan(found[1, 1])
    with pytest.raises(ValueError, match="expected 0 or more"):
        Mode("poisson").targets(-TPM, LOG)


@pytest.mark.parametrize("name", ["mse", "poisson", "classification"])
def test_start_values_are_the_best_constants(name):
    mode = Mode(name)
    start = mode.start_values(mode.targets(TPM, LOG), LOG)
    best = losses(mode, output([start.tolist()] * 3)).sum(0)
    for step in (-0.05, 0.05):
        worse = losses(mode, output([(start + step).tolist()] * 3)).sum(0)
        # leaf is expressed in all rows: its best constant would be infinite
        columns = slice(0, 1) if name == "classification" else slice(None)
        assert (worse > best)[columns].all()
    empty = np.full((3, 2), np.nan, np.float32)
    assert mode.start_values(empty, LOG).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "l1"}, "mode is 'l1', expected one of: mse, huber, sparse, poisson"),
        ({"threshold": "old"}, "threshold is 'old', expected corrected or reference"),
        ({"theta_tpm": 0}, "theta_tpm is 0, expected a number above 0"),
        ({"alpha": 2}, r"alpha is 2, expected a fraction in \[0, 1\]"),
        ({"huber_delta": 0}, "huber_delta is 0, expected a number above 0"),
    ],
)
def test_wrong_options_say_what_is_wrong(options, message):
    with pytest.raises(ValueError, match=message):
        Mode(**options)
