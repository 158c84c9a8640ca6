"""Byte-pair tokens of DNA: published facts, the published layout on a trained one, both strands."""

import json
import os
import warnings
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from genomelm_utils.sequences.alphabet import decode, encode, reverse_complement
from genomelm_utils.sequences.genome import BaseStore, store_from_codes
from genomelm_utils.tokenizers.bpe import (
    CLS,
    MASK,
    N_SPECIAL,
    PAD,
    SEP,
    UNK,
    VOCAB_SIZE,
    load_bpe,
    pad_batch,
    token_bases,
    tokenize_codes,
    train_bpe,
    train_bpe_on_store,
)
from genomelm_utils.tokenizers.kmer import build_tokenizer

# Golden facts 3 and 4 of the DNABERT-S specification, from the published tokenizer.json.
PUBLISHED_IDS = {
    "ACGTAGCATCGGATCTATCTATCGACACTTGGTTATCGATCTACGAGCATCTCGTTAGC": [
        *(1, 5, 194, 32, 757, 1239, 2092, 294, 24, 359, 88, 93, 32, 75, 77, 19, 2)
    ],
    "ACGT": [1, 5, 6, 1049, 2],
    "ACGTNACGT": [1, 5, 6, 1049, 0, 5, 6, 1049, 2],
    "acgt": [1, 0, 0, 0, 0, 2],
    "": [1, 2],
    "A" * 40: [1, 1169, 1169, 248, 2],
    "AC-GT": [1, 5, 6, 0, 1049, 2],
    "ACGT ACGT": [1, 5, 6, 1049, 5, 6, 1049, 2],
}
# Section 2.6 of the specification: tokens of each number of bases.
PUBLISHED_LENGTHS = dict(enumerate([0, 4, 13, 27, 100, 318, 928, 1861, 674, 77, 28, 10, 13, 1]))
PUBLISHED_LENGTHS |= {14: 3, 15: 3, 16: 21, 17: 4, 23: 1, 32: 5}
PUBLISHED_FIRST = {"A": 5, "C": 6, "G": 7, "T": 8, "AA": 9, "TT": 10, "TG": 11, "CA": 12}
WORDS = [encode(word) for word in ("ACGTTGCAAC", "TTGACA", "GGCGCC")]


def make_genome(rng: np.random.Generator, n_words: int = 4000) -> np.ndarray:
    """Random bases with a few frequent words in between."""
    parts = [
        part
        for word in rng.integers(0, len(WORDS), n_words)
        for part in (WORDS[word], rng.integers(0, 4, 6).astype(np.uint8))
    ]
    return np.concatenate(parts)


def make_store(codes: np.ndarray, folder: Path) -> BaseStore:
    starts = np.array([0, len(codes) // 2, len(codes)])
    return store_from_codes(["one", "two"], codes, starts, np.empty((0, 2)), folder)


@pytest.fixture(scope="module")
def genome() -> np.ndarray:
    return make_genome(np.random.default_rng(1))


@pytest.fixture(scope="module")
def store(genome: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> BaseStore:
    return make_store(genome, tmp_path_factory.mktemp("bpe") / "store")


@pytest.fixture(scope="module")
def tokenizer(store: BaseStore):
    return train_bpe_on_store(store, 300, 40_000, seed=3)


@pytest.fixture(scope="module")
def published():
    """The published tokenizer, if the user has it; it is not ours to hand on."""
    folder = os.environ.get("GENOMELM_DNABERT2")
    if not folder:
        warnings.warn(
            "GENOMELM_DNABERT2 is not set: the published tokenizer is not tested", stacklevel=2
        )
        pytest.skip("set GENOMELM_DNABERT2 to a folder with DNABERT-2's or -S's tokenizer.json")
    return load_bpe(folder)


def merge_naively(text: str, merges: list[tuple[str, str]]) -> list[str]:
    """Byte-pair tokens by definition: the earliest-learned pair first, from the left."""
    words, rank = list(text), {pair: i for i, pair in enumerate(merges)}
    while found := [(rank[pair], i) for i, pair in enumerate(pairwise(words)) if pair in rank]:
        _, i = min(found)
        words[i : i + 2] = [words[i] + words[i + 1]]
    return words


def read_merges(tokenizer) -> list[tuple[str, str]]:
    return [tuple(m) for m in json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]]


# ---- the published tokenizer


@pytest.mark.parametrize(("text", "ids"), PUBLISHED_IDS.items(), ids=lambda v: str(v)[:12])
def test_published_ids(published, text: str, ids: list[int]) -> None:
    assert published(text)["input_ids"] == ids
    if set(text) <= set("ACGTN"):
        assert tokenize_codes(published, [encode(text)])[0].tolist() == ids


def test_published_vocabulary(published) -> None:
    bases = token_bases(published)
    assert len(bases) == VOCAB_SIZE
    assert Counter(bases[N_SPECIAL:].tolist()) == Counter(PUBLISHED_LENGTHS)
    assert published.convert_tokens_to_ids("CGGCAA") == VOCAB_SIZE - 1
    assert {t: published.convert_tokens_to_ids(t) for t in PUBLISHED_FIRST} == PUBLISHED_FIRST


def test_published_rate_on_random_bases(published) -> None:
    """4.71 bases per token, within what 40 random sequences of 10 kb leave open."""
    codes = np.random.default_rng(0).integers(0, 4, (40, 10_000)).astype(np.uint8)
    n_tokens = sum(len(row) - 2 for row in tokenize_codes(published, codes))
    assert codes.size / n_tokens == pytest.approx(4.71, abs=0.02)


# ---- the layout, on a tokenizer trained here


def test_layout_is_the_published_one(tokenizer) -> None:
    names = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]", "A", "C", "G", "T"]
    assert tokenizer.convert_ids_to_tokens(range(9)) == names
    assert len(tokenizer) == 300
    special = [tokenizer.unk_token_id, tokenizer.cls_token_id, tokenizer.sep_token_id]
    assert [*special, tokenizer.pad_token_id, tokenizer.mask_token_id] == [0, 1, 2, 3, 4]
    assert [UNK, CLS, SEP, PAD, MASK] == [0, 1, 2, 3, 4]
    assert all(set(t) <= set("ACGT") for t in tokenizer.convert_ids_to_tokens(range(5, 300)))


def test_unknown_characters_splits_and_pairs(tokenizer) -> None:
    acgt = tokenizer("ACGT")["input_ids"][1:-1]
    ac, gt = (tokenizer(text)["input_ids"][1:-1] for text in ("AC", "GT"))
    assert UNK not in acgt
    assert tokenizer("")["input_ids"] == [CLS, SEP]
    assert tokenizer("acgt")["input_ids"] == [CLS, *[UNK] * 4, SEP]
    assert tokenizer("acgt".upper())["input_ids"] == [CLS, *acgt, SEP]
    assert tokenizer("NNNN")["input_ids"] == [CLS, *[UNK] * 4, SEP]
    assert tokenizer("ACGTNACGT")["input_ids"] == [CLS, *acgt, UNK, *acgt, SEP]
    assert tokenizer("AC-GT")["input_ids"] == [CLS, *ac, UNK, *gt, SEP]
    assert tokenizer("ACGT ACGT")["input_ids"] == [CLS, *acgt, *acgt, SEP]
    pair = tokenizer("ACGT", "GT", return_token_type_ids=True)
    assert pair["input_ids"] == [CLS, *acgt, SEP, *gt, SEP]
    assert pair["token_type_ids"] == [0] * (len(acgt) + 2) + [1] * (len(gt) + 1)


def test_tokens_are_the_merges_applied_in_order(tokenizer, genome: np.ndarray) -> None:
    merges = read_merges(tokenizer)
    for start in (0, 777, 5000):
        codes = genome[start : start + 150]
        ids = tokenize_codes(tokenizer, [codes])[0]
        words = merge_naively(decode(codes), merges)
        assert tokenizer.convert_ids_to_tokens(ids[1:-1].tolist()) == words


def test_tokens_put_together_are_the_sequence(tokenizer, rng: np.random.Generator) -> None:
    bases = token_bases(tokenizer)
    for n in (1, 2, 17, 400):
        codes = rng.integers(0, 4, n).astype(np.uint8)
        ids = tokenize_codes(tokenizer, [codes])[0]
        assert "".join(tokenizer.convert_ids_to_tokens(ids[1:-1].tolist())) == decode(codes)
        assert bases[ids].sum() == n


# ---- training


def test_merges_on_a_text_by_hand() -> None:
    # ACACAC G: AC three times, then ACAC is AC+AC; of equal counts the lower ids
    trained = train_bpe(["ACACAC", "ACACAC", "GGT"], 11)
    assert trained.convert_ids_to_tokens([9, 10]) == ["AC", "ACAC"]
    assert trained("ACACACT")["input_ids"] == [CLS, 10, 9, 8, SEP]


def test_training_reads_case_u_and_gaps() -> None:
    plain = train_bpe(["ACGT", "ACGT", "ACGT", "ACGT"], 12)
    other = train_bpe(["acgu", "acgtNNNNACGT-acgt"], 12)
    assert other.get_vocab() == plain.get_vocab()


def test_training_is_deterministic(tokenizer, store: BaseStore) -> None:
    again = train_bpe_on_store(store, 300, 40_000, seed=3)
    assert again.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()
    other = train_bpe_on_store(store, 300, 40_000, seed=4)
    assert other.get_vocab() != tokenizer.get_vocab()


def test_vocabulary_has_no_strand(tokenizer) -> None:
    """The words of the genome are on one strand; pieces are read from either."""
    vocabulary = set(tokenizer.get_vocab())
    early = tokenizer.convert_ids_to_tokens(range(N_SPECIAL, 105))
    paired = [decode(reverse_complement(encode(token))) in vocabulary for token in early]
    assert np.mean(paired) > 0.9
    assert "GGCGCC" in vocabulary


def test_training_within_runs_only(tmp_path: Path) -> None:
    codes = np.concatenate([np.tile(encode("AC"), 500), np.tile(encode("GT"), 500)])
    trained = train_bpe_on_store(
        make_store(codes, tmp_path / "store"), 10, 1000, runs=np.array([[0, 1000]])
    )
    # read from a random strand: AC or GT, and never the CG between them
    assert trained.convert_ids_to_tokens([9])[0] in {"AC", "CA", "GT", "TG"}


def test_training_errors() -> None:
    with pytest.raises(ValueError, match="vocab_size is 8, expected at least 9"):
        train_bpe(["ACGT"], 8)
    with pytest.raises(ValueError, match="give more bases or a smaller vocab_size"):
        train_bpe(["ACGTACGT"], VOCAB_SIZE)


# ---- base codes to ids


def test_ambiguous_bases(tokenizer) -> None:
    codes = [encode("ACGTNACGT"), encode("NNRY"), encode("ACGT"), encode("")]
    unk = tokenize_codes(tokenizer, codes)
    skip = tokenize_codes(tokenizer, codes, ambiguous="skip")
    acgt = unk[2][1:-1].tolist()
    assert unk[0].tolist() == [CLS, *acgt, UNK, *acgt, SEP]
    assert skip[0].tolist() == [CLS, *acgt, *acgt, SEP]
    assert unk[1].tolist() == [CLS, *[UNK] * 4, SEP]
    assert skip[1].tolist() == unk[3].tolist() == skip[3].tolist() == [CLS, SEP]
    assert all(row.dtype == np.int32 for row in unk + skip)
    with pytest.raises(ValueError, match="expected one of: unk, skip"):
        tokenize_codes(tokenizer, codes, ambiguous="drop")


def test_soft_masked_bases_are_bases(tokenizer) -> None:
    upper, lower = tokenize_codes(tokenizer, [encode("ACGTTG"), encode("acgttg")])
    assert np.array_equal(upper, lower)
    assert UNK not in lower


def test_long_rows_are_cut(tokenizer, genome: np.ndarray) -> None:
    whole, short = genome[:500], genome[:3]
    full = tokenize_codes(tokenizer, [whole, short])
    cut = tokenize_codes(tokenizer, [whole, short], max_tokens=20)
    assert cut[0].tolist() == [*full[0][:19].tolist(), SEP]
    assert cut[1].tolist() == full[1].tolist()
    with pytest.raises(ValueError, match="max_tokens is 1, expected at least 2"):
        tokenize_codes(tokenizer, [whole], max_tokens=1)


def test_padding_of_an_earlier_call_is_undone(store: BaseStore) -> None:
    fresh = train_bpe_on_store(store, 64, 20_000)
    fresh(["ACGT", "A"], padding="max_length", max_length=8, truncation=True)
    assert tokenize_codes(fresh, [encode("A"), encode("ACGTACGT" * 4)])[0].tolist() == [1, 5, 2]


def test_pad_batch() -> None:
    rows = [np.array([1, 5, 2]), np.array([1, 0, 6, 7, 2]), np.array([1, 2])]
    ids_BL, mask_BL = pad_batch(rows)
    assert ids_BL.tolist() == [[1, 5, 2, 3, 3], [1, 0, 6, 7, 2], [1, 2, 3, 3, 3]]
    # [UNK] is a token, whatever the published configuration calls padding
    assert mask_BL.sum(dim=1).tolist() == [3, 5, 2]
    assert ids_BL.dtype == torch.int64
    assert mask_BL.dtype == torch.bool
    assert pad_batch(rows, pad_id=0)[0][2].tolist() == [1, 2, 0, 0, 0]
    assert pad_batch([])[0].shape == (0, 0)


# ---- files


def test_saved_and_loaded_again(tokenizer, tmp_path: Path, genome: np.ndarray) -> None:
    tokenizer.save_pretrained(tmp_path)
    codes = [genome[:300], encode("ACGTN")]
    expected = [row.tolist() for row in tokenize_codes(tokenizer, codes)]
    for loaded in (load_bpe(tmp_path), AutoTokenizer.from_pretrained(tmp_path)):
        assert [row.tolist() for row in tokenize_codes(loaded, codes)] == expected
        assert loaded("ACGTN")["input_ids"] == expected[1]
        assert loaded.pad_token_id == PAD


def test_baked_in_padding_and_truncation_are_taken_out(tokenizer, tmp_path: Path) -> None:
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    at_end, pad = {"direction": "Right"}, {"pad_id": 3, "pad_type_id": 0, "pad_token": "[PAD]"}
    content["truncation"] = at_end | {"max_length": 20, "strategy": "LongestFirst", "stride": 0}
    content["padding"] = at_end | pad | {"strategy": {"Fixed": 20}, "pad_to_multiple_of": None}
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    loaded = load_bpe(tmp_path)
    assert loaded("A")["input_ids"] == [CLS, 5, SEP]
    assert loaded.backend_tokenizer.encode("N" * 50).ids == [CLS, *[UNK] * 50, SEP]


def test_file_errors(tokenizer, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"tokenizer\.json does not exist"):
        load_bpe(tmp_path)
    path = tmp_path / "tokenizer.json"
    content = tokenizer.backend_tokenizer.to_str()
    path.write_text(content[:1000])
    with pytest.raises(ValueError, match="damaged or no tokenizer"):
        load_bpe(tmp_path)
    path.write_text('{"model": {"type": "BPE"}}')
    with pytest.raises(ValueError, match="no tokenizer that can be read"):
        load_bpe(tmp_path)
    build_tokenizer(3).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="holds a WordLevel tokenizer, expected BPE"):
        load_bpe(tmp_path)


def test_another_layout_is_refused(tokenizer, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    vocabulary = content["model"]["vocab"]
    vocabulary["A"], vocabulary["C"] = vocabulary["C"], vocabulary["A"]
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="A is 6 instead of 5; C is 5 instead of 6"):
        load_bpe(tmp_path)
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    content["model"]["fuse_unk"] = True
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="splits text otherwise"):
        load_bpe(tmp_path)
