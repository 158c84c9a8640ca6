"""Corpora of promoters: reading, epochs, files, and the published number of steps."""

import gzip
import logging

import numpy as np
import pytest

from genomelm_utils.pretraining import text_corpus
from genomelm_utils.pretraining.text_corpus import (
    EpochRows,
    keep_tss_end,
    open_corpus,
    planned_steps,
    read_texts,
    sample_texts,
    tokenize_corpus,
)
from genomelm_utils.tokenizers.byte_bpe import encode_texts, train_byte_bpe

RNG = np.random.default_rng(3)
TEXTS = ["".join(RNG.choice(list("ACGT"), n)) for n in RNG.integers(10, 60, 50)]


@pytest.fixture(scope="module")
def tokenizer():
    return train_byte_bpe(TEXTS, 280, max_tokens=16)


def test_planned_steps_of_the_paper() -> None:
    """Golden fact 14."""
    assert planned_steps(500_000, 64, 3, 10) == 2343
    assert planned_steps(100, 5, 1) == 20
    assert planned_steps(100, 5, 0.5, 2, 2) == 2
    with pytest.raises(ValueError, match="3 rows give no update of 20 rows in 1 epochs"):
        planned_steps(3, 10, 1, 2)


def test_plain_text_and_fasta_gzipped_or_not(tmp_path, caplog) -> None:
    plain, zipped, fasta = (tmp_path / name for name in ("a.txt", "b.txt.gz", "c.fa"))
    plain.write_text("ACGT\n\nacgtN\n")
    zipped.write_bytes(gzip.compress(b"ACGT\nacgtN"))
    fasta.write_text(">one\nAC\nGT\n>two\nacgtN\n")
    with caplog.at_level(logging.WARNING):
        assert list(read_texts(plain)) == ["ACGT", "acgtN"]
    assert "1 empty lines left out" in caplog.text
    assert list(read_texts(zipped)) == ["ACGT", "acgtN"]
    assert list(read_texts(fasta)) == ["ACGT", "ACGTN"]


def test_bad_files_are_explained(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="expected a text file with one sequence per line"):
        list(read_texts(tmp_path / "none.txt"))
    path = tmp_path / "bad.txt"
    path.write_text("ACGT\nACQT\n")
    with pytest.raises(ValueError, match=r"bad\.txt, line 2, character 3: 'Q' \(is this a protein"):
        list(read_texts(path))


def test_samples_and_tss_ends() -> None:
    kept = sample_texts(TEXTS * 40, 0.1, np.random.default_rng(0))
    assert len(kept) == pytest.approx(200, abs=50)
    assert sample_texts(TEXTS, 1, np.random.default_rng(0)) == TEXTS
    with pytest.raises(ValueError, match=r"share is 0, expected in \(0, 1\]"):
        sample_texts(TEXTS, 0, np.random.default_rng(0))
    assert keep_tss_end(["AACCC", "GT"], 3) == ["CCC", "GT"]


@pytest.mark.parametrize("on_disk", [False, True])
def test_rows_are_those_of_the_tokenizer(tokenizer, tmp_path, monkeypatch, on_disk) -> None:
    monkeypatch.setattr(text_corpus, "_BLOCK", 7)
    folder = tmp_path / "corpus" if on_disk else None
    corpus = tokenize_corpus(iter(TEXTS), tokenizer, folder)
    expected = encode_texts(tokenizer, TEXTS)
    assert len(corpus) == len(TEXTS)
    assert max(map(len, expected)) == 16
    for index, row in enumerate(expected):
        assert corpus.row(index).tolist() == row.tolist()
    counts_V = np.bincount(np.concatenate(expected), minlength=len(tokenizer))
    assert corpus.counts().tolist() == counts_V.tolist()
    assert corpus.vocab_size == len(tokenizer)
    if on_disk:
        assert isinstance(corpus.ids, np.memmap)
        assert open_corpus(folder).row(3).tolist() == expected[3].tolist()


def test_an_empty_corpus(tokenizer, tmp_path) -> None:
    for folder in (None, tmp_path / "empty"):
        corpus = tokenize_corpus([], tokenizer, folder)
        assert len(corpus) == 0
        with pytest.raises(ValueError, match="the corpus has no row"):
            EpochRows(corpus, 4)


def test_every_row_comes_once_per_epoch_in_any_order_of_asking(tokenizer) -> None:
    corpus = tokenize_corpus([f"{'A' * (i + 1)}" for i in range(10)], tokenizer)
    rows = EpochRows(corpus, 4, seed=5)

    def asked(source: EpochRows, step: int) -> list[bytes]:
        return [row.tobytes() for row in source(step, 0, 4)]

    forward = [asked(rows, step) for step in range(10)]
    drawn = [row for step in forward for row in step]
    every = sorted(corpus.row(i).tobytes() for i in range(10))
    for epoch in range(4):
        assert sorted(drawn[10 * epoch : 10 * epoch + 10]) == every
    assert drawn[:10] != drawn[10:20]
    other = EpochRows(corpus, 4, seed=5)
    for step in (7, 2, 9, 0, 5):
        assert asked(other, step) == forward[step]
    assert [row.tobytes() for row in other(3, 1, 3)] == forward[3][1:3]
    assert asked(EpochRows(corpus, 4, seed=6), 0) != forward[0]


def test_damaged_corpora_are_explained(tokenizer, tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="expected a tokenised corpus"):
        open_corpus(tmp_path)
    tokenize_corpus(TEXTS, tokenizer, tmp_path / "c")
    with (tmp_path / "c" / "ids.bin").open("ab") as file:
        file.write(b"xx")
    with pytest.raises(ValueError, match=r"ids\.bin has \d+ bytes, expected \d+ as bounds\.npy"):
        open_corpus(tmp_path / "c")
