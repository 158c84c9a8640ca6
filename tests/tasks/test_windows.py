"""Windows cover every token, give DNABERT's ids, and skip stretches of N."""

import numpy as np
import pytest
import torch

from genomelm_utils.sequences.alphabet import encode
from genomelm_utils.tasks.windows import batch_by_length, build_windows, cut_windows, pool_windows
from genomelm_utils.tokenizers.kmer import UNK, encode_sequences


def random_codes(rng, *lengths: int) -> list[np.ndarray]:
    return [rng.integers(0, 4, length).astype(np.uint8) for length in lengths]


def test_known_ids_and_padding():
    windows = build_windows([encode("GATTACAG"), encode("aaaaaat")], k=6, max_tokens=510)
    batch = windows.pad(np.arange(2))
    assert batch["input_ids"].tolist() == [[2, 3159, 333, 1320, 3], [2, 5, 6, 3, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]]


def test_short_sequences_equal_the_tokenizer(rng):
    codes = random_codes(rng, 30, 6, 17, 64)
    codes[2][4] = 14
    batch = build_windows(codes, k=6, max_tokens=100).pad(np.arange(4))
    ids, lengths = encode_sequences(codes, 6)
    assert torch.equal(batch["input_ids"], ids)
    assert torch.equal(batch["attention_mask"].sum(1), lengths)


def test_one_extra_n_at_both_ends_is_the_published_readers_quote(rng):
    """The released reader turns quotes into [UNK] at both ends; so does one N at both ends."""
    (codes,) = random_codes(rng, 40)
    quoted = np.concatenate([[14], codes, [14]]).astype(np.uint8)
    plain = build_windows([codes], 6, 510).pad(np.arange(1))["input_ids"][0].tolist()
    found = build_windows([quoted], 6, 510).pad(np.arange(1))["input_ids"][0].tolist()
    assert found == [plain[0], UNK, *plain[1:-1], UNK, plain[-1]]


@pytest.mark.parametrize("n_tokens", [1, 9, 10, 11, 15, 16, 37, 1000])
def test_windows_cover_every_token_evenly(n_tokens):
    sequence, start, length = cut_windows(np.array([n_tokens]), 10)
    covered = np.zeros(n_tokens, bool)
    for begin, size in zip(start, length, strict=True):
        covered[begin : begin + size] = True
    assert covered.all()
    assert (sequence == 0).all()
    assert (length == min(n_tokens, 10)).all()
    assert (start[0], start[-1] + length[-1]) == (0, n_tokens)
    assert (np.diff(start) <= 5).all()


def test_every_window_is_a_slice_of_its_own_sequence(rng):
    codes = random_codes(rng, 50, 12, 200, 9)
    windows = build_windows(codes, k=4, max_tokens=20)
    for index, one in enumerate(codes):
        mine = np.flatnonzero(windows.sequence_W == index)
        assert mine.tolist() == list(range(windows.first_S[index], windows.first_S[index + 1]))
        tokens = encode_sequences([one], 4)[0][0, 1:-1].tolist()
        _, starts, _ = cut_windows(np.array([len(tokens)]), 20)
        for window, start in zip(mine, starts, strict=True):
            ids = windows.pad(np.array([window]))["input_ids"][0].tolist()
            assert ids[1:-1] == tokens[start : start + 20]
    chosen, row = windows.select(np.array([2, 1]))
    assert windows.sequence_W[chosen].tolist() == [2 if r == 0 else 1 for r in row]
    assert len(chosen) == (windows.sequence_W == 2).sum() + 1


def test_windows_of_n_only_are_left_out_but_no_sequence_is(rng):
    (codes,) = random_codes(rng, 200)
    codes[100:] = 14
    only_n = np.full(100, 14, dtype=np.uint8)
    windows = build_windows([codes, only_n], k=4, max_tokens=20)
    assert (windows.sequence_W == 1).sum() == 1
    mine = windows.sequence_W == 0
    assert 0 < mine.sum() < len(cut_windows(np.array([197]), 20)[0])
    assert (windows.begin_W[mine] < 97).all()


def test_pooling_is_the_mean_and_of_one_window_the_value_itself():
    values = torch.randn(4, 3, requires_grad=True)
    pooled = pool_windows(values, torch.tensor([0, 1, 1, 2]), 3)
    assert torch.equal(pooled[[0, 2]], values[[0, 3]])
    assert torch.allclose(pooled[1], (values[1] + values[2]) / 2)
    pooled.sum().backward()
    assert values.grad[:, 0].tolist() == [1, 0.5, 0.5, 1]


def test_batches_hold_every_window_once_within_the_budget(rng):
    lengths = rng.integers(1, 60, 101)
    batches = batch_by_length(lengths, 100)
    assert sorted(np.concatenate(batches).tolist()) == list(range(101))
    for batch in batches:
        assert len(batch) * (lengths[batch].max() + 2) <= 100
    assert [len(batch) for batch in batch_by_length(np.array([500, 500]), 10)] == [1, 1]


def test_wrong_input_says_what_is_wrong(rng):
    with pytest.raises(ValueError, match=r"sequence 1 \(0-based\) has 3 bases"):
        build_windows([*random_codes(rng, 10), encode("ACG")], 6, 510)
    with pytest.raises(ValueError, match="at least one"):
        build_windows([], 6, 510)
    with pytest.raises(ValueError, match="uint8 base codes"):
        build_windows([np.zeros(10)], 6, 510)
