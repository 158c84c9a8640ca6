import threading

import numpy as np
import pytest

from genomelm_utils.tasks.embedding_batches import (
    Block,
    cut_bases,
    look_ahead,
    make_batches,
    make_blocks,
    place_windows,
    truncate,
)
from genomelm_utils.tasks.embedding_models import Rows


@pytest.mark.parametrize(
    ("length", "overlap", "expected"),
    [
        (0, 0.0, [(0, 0)]),
        (10, 0.0, [(0, 10)]),
        (11, 0.0, [(0, 10), (10, 11)]),
        (20, 0.0, [(0, 10), (10, 20)]),
        (20, 0.5, [(0, 10), (5, 15), (10, 20)]),
        (21, 0.5, [(0, 10), (5, 15), (10, 20), (15, 21)]),
        (18, 0.2, [(0, 10), (8, 18)]),
    ],
)
def test_windows_by_hand(length, overlap, expected):
    sequence, begin, end = cut_bases(np.array([length]), 10, overlap)
    assert list(zip(begin.tolist(), end.tolist(), strict=True)) == expected
    assert not sequence.any()


def test_windows_cover_every_base_and_weights_add_up_to_one(rng):
    codes = [rng.integers(0, 15, n, dtype=np.uint8) for n in rng.integers(20, 400, 50)]
    for both in (False, True):
        windows = place_windows(codes, 37, 0.25, both)
        weights = np.bincount(windows.sequence_W, windows.weight_W, 50)
        assert np.allclose(weights, 1)
        assert (np.diff(windows.end_W - windows.begin_W) <= 0).all(), "longest first"
        assert windows.reverse_W.any() == both


def test_reverse_windows_are_the_windows_of_the_reverse_complement(rng):
    codes = rng.integers(0, 4, 95, dtype=np.uint8)
    windows = place_windows([codes], 40, 0.25, both=True)
    rows = Rows(list, 0, 0, 0)
    (block,) = make_blocks([codes], windows, rows, None)
    turned = 3 - codes[::-1]
    for row, reverse in zip(block.ids, windows.reverse_W, strict=True):
        text = (turned if reverse else codes).tobytes()
        assert text.find(row.tobytes()) % 30 == 0


def test_batches_keep_to_the_budget_and_lose_no_row(rng):
    lengths = rng.integers(2, 90, 100)
    block = Block(
        [np.full(n, 7, np.int32) for n in lengths], np.arange(100), np.ones(100), lengths * 5
    )
    batches = list(make_batches([block, block], budget=200, pad_id=3, pin=False))
    for batch in batches:
        assert batch.ids_BL.numel() <= 200 or len(batch.ids_BL) == 1
        assert (batch.ids_BL[~batch.mask_BL] == 3).all()
        assert (batch.mask_BL.sum(1).numpy() == lengths[batch.sequence_B]).all()
    widths = [batch.ids_BL.shape[1] for batch in batches]
    assert widths[: len(widths) // 2] == sorted(widths[: len(widths) // 2], reverse=True)
    assert sum(batch.n_bases for batch in batches) == 2 * 5 * lengths.sum()
    assert sorted(s for batch in batches for s in batch.sequence_B) == sorted([*range(100)] * 2)


def test_blocks_are_bounded_in_bases(rng, monkeypatch):
    monkeypatch.setattr("genomelm_utils.tasks.embedding_batches.BLOCK_BASES", 1000)
    codes = [rng.integers(0, 4, n, dtype=np.uint8) for n in rng.integers(20, 400, 50)]
    windows = place_windows(codes, 300, 0, False)
    blocks = list(make_blocks(codes, windows, Rows(list, 0, 0, 0), None))
    assert all(block.bases_R.sum() <= 1000 for block in blocks) and len(blocks) > 5
    assert sum(block.bases_R.sum() for block in blocks) == sum(len(one) for one in codes)


def test_truncate_keeps_the_end_token():
    row = np.arange(10)
    assert truncate(row, 5, 1).tolist() == [0, 1, 2, 3, 9]
    assert truncate(row, 5, 0).tolist() == [0, 1, 2, 3, 4]
    assert truncate(row, None, 1) is row


def test_look_ahead_keeps_order_works_in_another_thread_and_hands_errors_on():
    def items():
        for number in range(3):
            yield number, threading.get_ident()
        raise KeyError("end")

    seen = []
    with pytest.raises(KeyError):
        for number, thread in look_ahead(items()):
            seen.append(number)
            assert thread != threading.get_ident()
    assert seen == [0, 1, 2]
