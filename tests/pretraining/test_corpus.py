"""The corpus: pure in (seed, step, micro), uniform, never across N, held-out regions apart."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pytest
import torch

from genomelm_utils.pretraining.corpus import (
    CropCorpus,
    Crops,
    gather_codes,
    hold_out,
    reference_pieces,
)
from genomelm_utils.sequences.alphabet import CODE_N, decode, definite_runs, encode
from genomelm_utils.sequences.alphabet import reverse_complement as reverse_complement_of
from genomelm_utils.sequences.genome import open_store, store_from_codes
from genomelm_utils.tokenizers.kmer import CLS, PAD, SEP, UNK, encode_sequences, token_ids


@dataclass
class Genome:
    """The least that a corpus needs."""

    codes: np.ndarray
    starts: list[int] = field(default_factory=lambda: [0])

    def __post_init__(self):
        borders = np.array([*self.starts, len(self.codes)])
        self.runs = definite_runs(self.codes, borders)
        self.records = pd.DataFrame({"start": borders[:-1], "length": np.diff(borders)})


def random_genome(rng, n_bases=200_000, gaps=(), starts=(0,)) -> Genome:
    codes = rng.integers(0, 4, n_bases, dtype=np.uint8)
    for start, end in gaps:
        codes[start:end] = CODE_N
    return Genome(codes, list(starts))


def rows_of(batch) -> list[list[int]]:
    ids, lengths = batch
    return [row[:n].tolist() for row, n in zip(ids, lengths.tolist(), strict=True)]


def crops_of(corpus, n_rows, part="_train", key=(0, 0, 0)) -> Crops:
    return corpus._draw(getattr(corpus, part), n_rows, *key)


# --- crops ----------------------------------------------------------------------------------------


def test_batch_is_a_pure_function_of_seed_step_and_micro(rng):
    genome = random_genome(rng)
    corpus = CropCorpus([genome], k=6, seed=3)
    ids, lengths = corpus.batch(5, 1, 32)
    corpus.batch(6, 0, 7)
    for again in (corpus, CropCorpus([genome], k=6, seed=3)):
        same_ids, same_lengths = again.batch(5, 1, 32)
        assert torch.equal(ids, same_ids)
        assert torch.equal(lengths, same_lengths)
    for other in ((5, 0), (1, 5), (6, 1)):
        assert rows_of(corpus.batch(*other, 32)) != rows_of((ids, lengths))
    assert rows_of(CropCorpus([genome], k=6, seed=4).batch(5, 1, 32)) != rows_of((ids, lengths))


def test_batch_is_padded_token_ids(rng):
    ids, lengths = CropCorpus([random_genome(rng)], k=6, seed=0).batch(0, 0, 400)
    assert ids.dtype == lengths.dtype == torch.int64
    assert ids.shape == (400, 508)  # 511 bases are 506 tokens and 508 ids
    assert int(lengths.max()) == 508
    assert int(lengths.min()) >= 3
    assert (lengths == 508).float().mean() == pytest.approx(0.5, abs=0.08)
    column = torch.arange(508)
    assert bool((ids[:, 0] == CLS).all())
    assert bool((ids[torch.arange(400), lengths - 1] == SEP).all())
    assert bool(((ids == PAD) == (column >= lengths[:, None])).all())
    assert not (ids == UNK).any()


@pytest.mark.parametrize("k", [3, 6])
def test_rows_are_pieces_of_the_genome_on_either_strand(k, rng):
    genome = random_genome(rng, 20_000, gaps=[(3000, 3400), (9000, 9001)], starts=(0, 5000, 5300))
    corpus = CropCorpus([genome], k=k, seed=1)
    crops = crops_of(corpus, 200, key=(0, 7, 2))
    pieces = []
    for start, length, turn in zip(crops.start, crops.length, crops.is_reverse, strict=True):
        inside = (genome.runs[:, 0] <= start) & (start + length <= genome.runs[:, 1])
        assert inside.any()  # never across N, never across records
        piece = genome.codes[start : start + length]
        pieces.append(reverse_complement_of(piece) if turn else piece)
    assert rows_of(encode_sequences(pieces, k)) == rows_of(corpus.batch(7, 2, 200))
    assert 60 < crops.is_reverse.sum() < 140


def test_forward_strand_only(rng):
    corpus = CropCorpus([random_genome(rng)], k=6, seed=1, strands="forward")
    assert not crops_of(corpus, 500).is_reverse.any()


def test_reverse_strand_is_the_reverse_complement():
    source = encode("AACCGTNNRT")
    crops = Crops(*(np.array(x) for x in ([0, 0], [1, 1], [5, 9], [True, True])))
    codes = gather_codes([source], crops)
    assert decode(codes[0, :5]) == "ACGGT"
    assert decode(codes[1]) == "AYNNACGGT"


def test_every_valid_start_is_equally_likely(rng):
    """Crops of one fixed length from runs of 6, 8 and 20 bases in two stores: 1 + 3 + 15 starts."""
    first = Genome(encode("ACGTACNNACGTACGTNNACGTA"))  # the last run is too short
    second = Genome(encode("N" + "ACGT" * 5))
    corpus = CropCorpus([first, second], k=5, seed=2, max_bases=6, block_bp=100)
    crops = crops_of(corpus, 40_000)
    counts = {}
    for source, start, length in zip(crops.source, crops.start, crops.length, strict=True):
        if length == 6:
            counts[int(source), int(start)] = counts.get((int(source), int(start)), 0) + 1
    expected = {(0, 0)} | {(0, s) for s in (8, 9, 10)} | {(1, s) for s in range(1, 16)}
    assert set(counts) == expected
    share = np.array(list(counts.values())) / sum(counts.values())
    assert share == pytest.approx(1 / 19, abs=0.006)


def test_lengths_follow_the_rule(rng):
    length = crops_of(CropCorpus([random_genome(rng)], k=6, seed=5), 50_000).length
    assert (length == 511).mean() == pytest.approx(0.5, abs=0.01)
    rest = length[length < 511]
    assert rest.min() == 6
    assert rest.max() == 510
    assert rest.mean() == pytest.approx(258, abs=2.5)
    assert length.mean() == pytest.approx(384.5, abs=2)  # Source: the published mean piece


def test_crops_longer_than_every_run_are_cut_to_the_longest(rng):
    corpus = CropCorpus([random_genome(rng, 300)], k=6, seed=0)
    length = crops_of(corpus, 1000).length
    assert length.max() == 300
    _, lengths = corpus.batch(0, 0, 8)
    assert int(lengths.max()) == 300 - 5 + 2


def test_a_store_on_disk_gives_the_same_batches(rng, tmp_path):
    genome = random_genome(rng, 5000, gaps=[(100, 200)])
    names, borders = ["chr1"], np.array([0, 5000])
    store_from_codes(names, genome.codes, borders, np.empty((0, 2)), tmp_path / "store")
    store = open_store(tmp_path / "store")
    for rule in ("crops", "reference"):
        options = {"k": 6, "seed": 1, "rule": rule, "max_bases": 100}
        here = CropCorpus([genome], **options).batch(1, 2, 16)
        assert rows_of(here) == rows_of(CropCorpus([store], **options).batch(1, 2, 16))


# --- validation -----------------------------------------------------------------------------------


def test_blocks_cover_the_runs_once():
    runs = np.array([[0, 1000], [1200, 1250], [1250, 4999]])
    train, valid = hold_out(runs, 0.3, 100, np.random.default_rng(0))
    covered = np.zeros(5000, dtype=int)
    for start, end in [*train, *valid]:
        assert any(lo <= start < end <= hi for lo, hi in runs)
        covered[start:end] += 1
    expected = np.zeros(5000, dtype=int)
    for start, end in runs:
        expected[start:end] = 1
    assert np.array_equal(covered, expected)
    assert len(valid) > 5
    everything, nothing = hold_out(runs, 0.0, 100, np.random.default_rng(0))
    assert np.array_equal(everything, runs)
    assert len(nothing) == 0


def test_training_never_touches_held_out_bases(rng):
    corpus = CropCorpus(
        [random_genome(rng, gaps=[(5000, 5100)])], k=6, seed=1, valid_share=0.2, block_bp=2000
    )
    touched = np.zeros((2, 200_000), dtype=bool)
    for number, part in enumerate(("_train", "_valid")):
        crops = crops_of(corpus, 5000, part)
        for start, length in zip(crops.start, crops.length, strict=True):
            touched[number, start : start + length] = True
    assert not (touched[0] & touched[1]).any()
    assert touched.sum() / 199_900 > 0.95
    assert corpus.n_train_bases + corpus.n_valid_bases == 199_900
    assert corpus.n_valid_bases / 199_900 == pytest.approx(0.2, abs=0.1)


@pytest.mark.parametrize("rule", ["crops", "reference"])
def test_validation_rows_are_frozen(rule, rng):
    corpus = CropCorpus(
        [random_genome(rng)], k=6, seed=1, rule=rule, valid_share=0.2, block_bp=2000
    )
    batches = corpus.validation_batches(50, 16)
    assert [len(ids) for ids, _ in batches] == [16, 16, 16, 2]
    rows = [row for batch in batches for row in rows_of(batch)]
    corpus.batch(0, 0, 8)
    assert rows_of(corpus.validation_batches(50, 50)[0]) == rows
    assert rows_of(corpus.batch(0, 0, 50)) != rows


# --- the reference rule ---------------------------------------------------------------------------


def test_reference_pieces_follow_the_released_rule(rng):
    codes = rng.integers(0, 4, 3_000_000, dtype=np.uint8)
    codes[1000:51_000] = CODE_N
    codes[70_000] = 4  # R stays
    glued, pieces = reference_pieces(codes, rng)
    assert np.array_equal(glued, codes[codes != CODE_N])
    lengths = pieces[:, 1] - pieces[:, 0]
    assert np.array_equal(pieces[1:, 0], pieces[:-1, 1])  # adjacent: no overlap, no gap
    assert 0 <= pieces[0, 0] < 1000
    assert glued.size - 511 <= pieces[-1, 1] < glued.size  # the last base is never used
    assert set(lengths) <= set(range(6, 512))
    assert (lengths == 511).mean() == pytest.approx(0.5, abs=0.02)
    # Golden fact 18: bases / 384.5
    assert len(pieces) == pytest.approx(2_950_000 / 384.5, rel=0.015)


def test_expected_number_of_reference_pieces():
    codes = np.zeros(20_000_000, dtype=np.uint8)
    _, pieces = reference_pieces(codes, np.random.default_rng(0))
    assert len(pieces) == pytest.approx(codes.size / 384.5, rel=0.01)


@pytest.mark.parametrize("text", ["", "N" * 50, "A", "ACGT"])
def test_reference_pieces_of_next_to_nothing(text):
    _, pieces = reference_pieces(encode(text), np.random.default_rng(0))
    assert pieces.shape == (0, 2)


def test_reference_rule_glues_over_n_and_reads_forward(rng):
    genome = random_genome(rng, 60_000, gaps=[(1000, 1400), (30_000, 30_100)], starts=(0, 20_000))
    corpus = CropCorpus([genome], k=6, seed=9, rule="reference", valid_share=0.1)
    glued = [codes[codes != CODE_N] for codes in np.split(genome.codes, [20_000])]
    texts = [" ".join(map(str, token_ids(codes, 6))) for codes in glued]
    across = set(map(int, token_ids(glued[0][990:1010], 6)))
    rows = rows_of(corpus.batch(0, 0, 300))
    for row in rows:
        inner = " ".join(map(str, row[1:-1]))
        assert any(f" {inner} " in f" {text} " for text in texts)
    assert any(across <= set(row) for row in rows)
    assert UNK not in {token for row in rows for token in row}


def test_reference_pieces_are_split_at_random_without_sharing_any(rng):
    corpus = CropCorpus([random_genome(rng)], k=6, seed=9, rule="reference", valid_share=0.1)
    train, valid = (set(part.start.tolist()) for part in (corpus._train, corpus._valid))
    assert not train & valid
    assert len(valid) / len(train | valid) == pytest.approx(0.1, abs=0.05)


# --- what counts are taken from -------------------------------------------------------------------


def intervals_to_mask(intervals, size) -> np.ndarray:
    covered = np.zeros(size, dtype=int)
    for start, end in intervals:
        covered[start:end] += 1
    return covered


def test_training_regions_are_what_is_not_held_out(rng):
    """Of every store in its place: definite bases, in order, none of them in a validation row."""
    stores = [random_genome(rng, 30_000, gaps=[(400, 450), (9000, 9003)]), random_genome(rng, 8000)]
    corpus = CropCorpus(stores, k=6, seed=4, valid_share=0.3, block_bp=1000, max_bases=60)
    regions = corpus.training_regions
    held_out = crops_of(corpus, 4000, "_valid")
    assert len(regions) == 2
    n_bases = 0
    for number, (codes, intervals) in enumerate(regions):
        assert np.array_equal(codes, stores[number].codes)
        assert (np.diff(intervals[:, 0]) > 0).all()
        trained = intervals_to_mask(intervals, len(codes))
        assert trained.max() == 1
        assert (codes[trained == 1] < 4).all()
        mine = held_out.source == number
        ends = held_out.start[mine] + held_out.length[mine]
        validated = intervals_to_mask(zip(held_out.start[mine], ends, strict=True), len(codes)) > 0
        assert not (validated & (trained == 1)).any()
        neither = (trained == 0) & ~validated & (codes < 4)
        assert neither.mean() < 0.005  # ends of blocks that none of the 4,000 rows reached
        n_bases += trained.sum()
    assert n_bases == corpus.n_train_bases


def test_training_regions_without_validation_are_the_runs(rng):
    genome = random_genome(rng, 5000, gaps=[(1000, 1001), (1004, 1010)], starts=(0, 2000))
    ((codes, regions),) = CropCorpus([genome], k=6, seed=0).training_regions
    runs = genome.runs[np.diff(genome.runs)[:, 0] >= 6]  # 1001..1004 is too short for a crop
    assert len(runs) == len(genome.runs) - 1
    assert np.array_equal(regions, runs)
    assert np.array_equal(codes, genome.codes)


def test_training_regions_of_the_reference_rule_are_its_pieces(rng):
    genome = random_genome(rng, 50_000, gaps=[(100, 400)])
    corpus = CropCorpus([genome], k=6, seed=3, rule="reference", valid_share=0.2)
    ((codes, pieces),) = corpus.training_regions
    assert np.array_equal(codes, genome.codes[genome.codes != CODE_N])
    assert np.array_equal(pieces[:, 0], np.sort(corpus._train.start))
    held_out = np.stack([corpus._valid.start, corpus._valid.start + corpus._valid.length], axis=1)
    assert not (
        intervals_to_mask(pieces, len(codes)) & intervals_to_mask(held_out, len(codes))
    ).any()
    drawn = crops_of(corpus, 500)
    ends = drawn.start + drawn.length
    assert set(zip(drawn.start, ends, strict=True)) <= set(map(tuple, pieces))


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strands": "reverse"}, "strands is 'reverse', expected one of both, forward"),
        ({"rule": "text"}, "rule is 'text', expected one of crops, reference"),
        ({"valid_share": 15}, r"valid_share is 15, expected in \[0, 1\)"),
        ({"valid_share": 0.001}, "leaves nothing for validation.*block_bp smaller"),
        ({"valid_share": 0.999}, "leaves nothing for training"),
        ({"max_bases": 6}, r"max_bases is 6, expected more than k \(6\)"),
        ({"block_bp": 100}, r"at most block_bp \(100\)"),
    ],
)
def test_wrong_arguments_are_explained(options, message, rng):
    with pytest.raises(ValueError, match=message):
        CropCorpus([random_genome(rng, 1000)], **({"k": 6, "seed": 0} | options))


@pytest.mark.parametrize("codes", [encode("N" * 100), encode("ACGTN" * 20)])
def test_a_genome_without_a_definite_stretch_is_refused(codes):
    with pytest.raises(ValueError, match="no stretch of at least 6 definite bases"):
        CropCorpus([Genome(codes)], k=6, seed=0)


def test_validation_without_a_share_is_refused(rng):
    with pytest.raises(ValueError, match="give CropCorpus a valid_share"):
        CropCorpus([random_genome(rng)], k=6, seed=0).validation_batches(8, 8)
