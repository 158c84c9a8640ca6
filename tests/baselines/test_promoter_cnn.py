"""The convolutional network: what its parts see, masks, and that it repeats itself."""

import numpy as np
import torch

from genomelm_utils.baselines.promoter_cnn import (
    POOL_BP,
    MaskedSquares,
    PromoterCnn,
    _stack,
    predict_cnn,
)
from genomelm_utils.sequences.alphabet import CODE_N


def make_cnn(**settings):
    torch.manual_seed(0)
    return PromoterCnn(2, **settings).eval()


def test_stretches_by_hand():
    cnn = make_cnn(bin_ends_bp=(4, 8))
    rows = _stack([np.zeros(16, np.uint8), np.zeros(7, np.uint8)], [0, 6], None)
    found = cnn._stretches(rows["codes_BL"], rows["gap_B"], 16 // POOL_BP).int().tolist()
    # places end 16, 12, 8, 4 bases upstream, plus the gap; the second has no base before place 2
    assert found[0] == [[0, 0, 0, 1], [0, 0, 1, 0], [1, 1, 0, 0]]
    assert found[1] == [[0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]]
    total = cnn._stretches(rows["codes_BL"], rows["gap_B"], 4).sum(1)
    assert total.tolist() == [[1, 1, 1, 1], [0, 0, 1, 1]]


def test_prediction_does_not_depend_on_what_else_is_in_the_batch(rng):
    cnn = make_cnn()
    codes = [rng.integers(0, 4, n).astype(np.uint8) for n in (400, 50, 37)]
    together = _stack(codes, None, None)
    with torch.no_grad():
        found = cnn(together["codes_BL"], together["gap_B"])
        for i, one in enumerate(codes):
            alone = _stack([one], None, None)
            single = cnn(alone["codes_BL"], alone["gap_B"])[0]
            assert torch.allclose(found[i], single, atol=1e-5), f"promoter {i}"
    assert (together["codes_BL"][1, :350] == CODE_N).all()


def test_missing_labels_count_in_neither_sum():
    class Zero(torch.nn.Module):
        def forward(self, codes_BL, gap_B):
            return torch.zeros(2, 2)

    nan = float("nan")
    labels = torch.tensor([[1.0, nan], [nan, 3.0]])
    loss, n = MaskedSquares(Zero())(torch.zeros(2, 4), torch.zeros(2), labels)
    assert (float(loss), n) == (10.0, 2)


def test_same_seed_same_predictions_and_torch_state_untouched(rng):
    codes = [rng.integers(0, 4, 40).astype(np.uint8) for _ in range(30)]
    labels = rng.normal(size=(30, 2))
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    first, second = (
        predict_cnn((codes, None, labels), (codes[:5], None), np.arange(30), 3, epochs=2)
        for _ in range(2)
    )
    assert (first == second).all()
    assert (torch.random.get_rng_state() == before).all()
    assert first.dtype == np.float32
