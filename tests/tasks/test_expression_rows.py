"""Promoters as rows: distances from the TSS, cuts that keep it, padding, buckets."""

import logging

import numpy as np
import pandas as pd
import pytest
from expression_toy import random_promoters, tokenizer

from genomelm_utils.tasks.expression_rows import (
    BATCHES_PER_CHUNK,
    bases_per_token,
    bucket_batches,
    epoch_batches,
    pooled_ids,
    tokenise_rows,
)
from genomelm_utils.tokenizers.bpe import train_bpe
from genomelm_utils.tokenizers.kmer import build_tokenizer


@pytest.fixture(scope="module")
def bpe():
    return tokenizer()


def test_distances_by_hand():
    rows = tokenise_rows(build_tokenizer(3), ["ACGTA"])
    assert rows.distance_N.tolist() == [0, -3, -2, -1, 0]
    gapped = tokenise_rows(build_tokenizer(3), ["ACGTA", "ACGT"], gap_bp=pd.array([10, None]))
    assert gapped.distance_N.tolist() == [0, -13, -12, -11, 0, 0, -2, -1, 0]


def test_distances_equal_a_walk_over_the_tokens(bpe, rng):
    sequences = [*random_promoters(rng, 20), "ACGNNNTTT"]
    rows = tokenise_rows(bpe, sequences)
    for i, sequence in enumerate(sequences):
        ids = rows.ids_N[rows.begin_S[i] : rows.begin_S[i + 1]]
        found = rows.distance_N[rows.begin_S[i] : rows.begin_S[i + 1]]
        words = bpe.convert_ids_to_tokens(ids.tolist())
        assert (words[0], words[-1]) == ("<s>", "</s>")
        assert "".join(words[1:-1]) == sequence
        ends = np.cumsum([len(word) for word in words[1:-1]])
        assert found.tolist() == [0, *(ends - len(sequence) - 1).tolist(), 0]
    assert pooled_ids(bpe) == [0, 1]
    assert pooled_ids(build_tokenizer(3)) == [2, 3]


def test_unknown_bases_stand_for_one_base_each():
    words = train_bpe(random_promoters(np.random.default_rng(0), 100), 40)
    rows = tokenise_rows(words, ["NNACGT"])
    assert rows.distance_N[1:3].tolist() == [-6, -5]
    assert rows.distance_N[-2] == -1
    assert bases_per_token(words)[1:5].max() <= 1


def test_a_cut_keeps_the_tss_unless_the_reference_is_asked_for(bpe, caplog):
    sequence = random_promoters(np.random.default_rng(3), 1, 80, 81)
    whole = tokenise_rows(bpe, sequence)
    with caplog.at_level(logging.WARNING):
        cut = tokenise_rows(bpe, sequence, max_ids=12)
    assert "1 of 1 promoters have more than 12 tokens and lost their distal end" in caplog.text
    assert cut.n_truncated == 1
    assert cut.ids_N.tolist() == [whole.ids_N[0], *whole.ids_N[-11:]]
    assert cut.distance_N[1:].tolist() == whole.distance_N[-11:].tolist()
    with caplog.at_level(logging.WARNING):
        reference = tokenise_rows(bpe, sequence, max_ids=12, truncate="reference")
    assert "lost their TSS end" in caplog.text
    assert reference.ids_N.tolist() == [*whole.ids_N[:11], whole.ids_N[-1]]
    assert reference.distance_N.max() == 0
    assert reference.distance_N[1:-1].max() < -30


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_on_either_side(bpe, side, rng):
    rows = tokenise_rows(bpe, random_promoters(rng, 9), side=side)
    chosen = np.array([4, 0, 7])
    batch = rows.pad(chosen)
    width = rows.length_S[chosen].max()
    for b, row in enumerate(chosen):
        ids = rows.ids_N[rows.begin_S[row] : rows.begin_S[row + 1]]
        n = len(ids)
        inside = slice(width - n, width) if side == "left" else slice(0, n)
        assert batch["input_ids"][b, inside].tolist() == ids.tolist()
        assert batch["attention_mask"][b].sum() == n
        outside = batch["attention_mask"][b] == 0
        assert (batch["input_ids"][b][outside] == rows.pad_id).all()
        assert (batch["distance_bp"][b][outside] == 0).all()
        assert batch["attention_mask"][b, inside].all()


def test_buckets_hold_every_row_once_and_pad_little(rng):
    lengths = rng.integers(50, 220, 1000)
    batches = bucket_batches(lengths, 16, rng)
    assert sorted(np.concatenate(batches).tolist()) == list(range(1000))
    assert {len(one) for one in batches} <= {15, 16}
    padded = sum(lengths[one].max() * len(one) for one in batches)
    shuffled = np.array_split(rng.permutation(1000), 63)
    plain = sum(lengths[one].max() * len(one) for one in shuffled)
    assert padded / lengths.sum() < 1.05
    assert plain / lengths.sum() > 1.4
    means = [lengths[one].mean() for one in batches]
    assert np.corrcoef(means, np.arange(len(means)))[0, 1] < 0.5  # no order of lengths in time
    # a last batch of one row would be an error for BatchNorm
    for n in range(2, 70):
        assert min(map(len, bucket_batches(np.ones(n), 8, rng))) > 1
    assert len(bucket_batches(np.ones(8 * BATCHES_PER_CHUNK + 1), 8, rng)) == BATCHES_PER_CHUNK + 1


def test_epochs_are_pure_and_count_measured_labels(bpe, rng):
    rows = tokenise_rows(bpe, random_promoters(rng, 21))
    targets = rng.normal(size=(21, 3)).astype(np.float32)
    targets[rng.random(targets.shape) < 0.3] = np.nan
    batches = epoch_batches(rows, targets, 4, 2, seed=3)
    for epoch in range(2):
        seen = [divmod(index, 2) for index in range(6 * epoch, 6 * epoch + 6)]
        made = [batches(*place) for place in seen]
        assert sum(len(one["input_ids"]) for one in made) == 21
        assert sum(one["n_targets"] for one in made) == (~np.isnan(targets)).sum()
    again = epoch_batches(rows, targets, 4, 2, seed=3)
    assert (again(4, 1)["input_ids"] == batches(4, 1)["input_ids"]).all()
    assert (again(0, 0)["input_ids"] == batches(0, 0)["input_ids"]).all()


@pytest.mark.parametrize(
    ("sequences", "options", "message"),
    [
        ([], {}, "no sequences, expected at least one"),
        (["ACGT", ""], {}, r"sequence 1 \(0-based\) is empty"),
        (["ACGT"], {"truncate": "left"}, "truncate is 'left', expected corrected or reference"),
        (["ACGT"], {"side": "both"}, "side is 'both', expected left or right"),
        (["ACGT"], {"max_ids": 2}, "max_ids is 2, expected more than the 2 special tokens"),
    ],
)
def test_wrong_input_says_what_is_wrong(bpe, sequences, options, message):
    with pytest.raises(ValueError, match=message):
        tokenise_rows(bpe, sequences, **options)
