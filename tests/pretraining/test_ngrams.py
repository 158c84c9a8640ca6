"""n-gram counts: against a dictionary, at run ends, on both strands, and errors."""

from collections import Counter

import numpy as np
import pytest

from genomelm_utils.pretraining import ngrams
from genomelm_utils.pretraining.ngrams import count_ngrams, infer_ngrams
from genomelm_utils.sequences.alphabet import decode, definite_runs, encode, reverse_complement
from genomelm_utils.sequences.fasta import read_fasta
from genomelm_utils.sequences.kmers import kmer_index, kmer_strings, revcomp_codes


def count_naively(texts: list[str], n: int) -> Counter:
    """Words of length n in pieces of text, those with a letter besides A, C, G, T left out."""
    words = (text[i : i + n] for text in texts for i in range(len(text) - n + 1))
    return Counter(word for word in words if set(word) <= set("ACGT"))


def as_counter(table: np.ndarray, n: int) -> Counter:
    return Counter({w: int(c) for w, c in zip(kmer_strings(n), table, strict=True) if c})


def count_text(text: str, n_max: int, **options):
    codes = encode(text)
    return count_ngrams(codes, definite_runs(codes), n_max, **options)


def random_text(rng: np.random.Generator, length: int, share_n: float) -> str:
    p = [(1 - share_n) / 4] * 4 + [share_n]
    return "".join(rng.choice(list("ACGTN"), size=length, p=p))


def test_counts_by_hand():
    found = count_text("AACAANNACNA", 3)
    assert as_counter(found.counts[3], 3) == {"AAC": 1, "ACA": 1, "CAA": 1}
    assert as_counter(found.counts[2], 2) == {"AA": 2, "AC": 2, "CA": 1}
    assert as_counter(found.counts[1], 1) == {"A": 6, "C": 2}
    assert (found.n_bases, found.n_max, found.strands) == (8, 3, "forward")


@pytest.mark.parametrize("share_n", [0.0, 0.02, 0.3])
@pytest.mark.parametrize("n_max", [1, 2, 5, 10])
def test_equals_a_dictionary_at_every_order(rng, share_n, n_max):
    for length in (0, 1, n_max, 400):
        text = random_text(rng, length, share_n)
        found = count_text(text, n_max)
        for n in range(1, n_max + 1):
            assert as_counter(found.counts[n], n) == count_naively([text], n)


def test_words_do_not_cross_records():
    """Two records touch in the concatenated codes; their runs keep them apart."""
    texts = ["ACGTACGT", "TTTTTTT"]
    codes = encode("".join(texts))
    runs = definite_runs(codes, np.array([0, 8, 15]))
    found = count_ngrams(codes, runs, 4)
    for n in range(1, 5):
        assert as_counter(found.counts[n], n) == count_naively(texts, n)


def test_threads_share_windows_without_loss(rng, monkeypatch):
    """Bounds between threads fall inside runs, on run ends and beside runs without a window."""
    monkeypatch.setattr(ngrams, "_WINDOWS_WORTH_A_THREAD", 1)
    text = random_text(rng, 3000, 0.1)
    alone = count_text(text, 6, threads=1)
    for threads in (2, 3, 7, 50):
        shared = count_text(text, 6, threads=threads)
        for n in range(1, 7):
            np.testing.assert_array_equal(shared.counts[n], alone.counts[n])


def test_more_windows_than_a_table_takes(rng, monkeypatch):
    monkeypatch.setattr(ngrams, "_WINDOWS_PER_TABLE", 100)
    text = random_text(rng, 1234, 0.01)
    found = count_text(text, 4, threads=2)
    assert as_counter(found.counts[4], 4) == count_naively([text], 4)


def test_both_strands_are_the_counts_of_the_sequence_and_its_reverse_complement(rng):
    text = random_text(rng, 500, 0.03)
    other = decode(reverse_complement(encode(text)))
    both = count_text(text, 5, strands="both")
    for n in range(1, 6):
        assert as_counter(both.counts[n], n) == count_naively([text, other], n)
        np.testing.assert_array_equal(both.counts[n], both.counts[n][revcomp_codes(n)])
    assert both.merge_strands() is both
    assert list(count_text(text, 5).merge_strands(3).counts) == [1, 2, 3]
    assert both.n_bases == len(text.replace("N", ""))


def test_reverse_complement_has_the_mirrored_counts(rng):
    text = random_text(rng, 500, 0.03)
    forward = count_text(text, 5)
    mirrored = count_text(decode(reverse_complement(encode(text))), 5)
    for n in range(1, 6):
        np.testing.assert_array_equal(forward.counts[n], mirrored.counts[n][revcomp_codes(n)])


def test_case_and_iupac():
    assert as_counter(count_text("acgT", 2).counts[2], 2) == {"AC": 1, "CG": 1, "GT": 1}
    assert as_counter(count_text("ACRGT", 2).counts[2], 2) == {"AC": 1, "GT": 1}


def test_nothing_definite_counts_nothing():
    found = count_text("NNNN", 3)
    assert found.n_bases == 0
    assert not any(table.any() for table in found.counts.values())


def test_memory_map_is_read_and_left_alone(tmp_path, rng):
    codes = encode(random_text(rng, 2000, 0.0))
    np.save(tmp_path / "codes.npy", codes)
    mapped = np.load(tmp_path / "codes.npy", mmap_mode="r")
    runs = np.array([[0, 2000]])
    found, expected = count_ngrams(mapped, runs, 6), count_ngrams(codes, runs, 6)
    np.testing.assert_array_equal(found.counts[6], expected.counts[6])
    np.testing.assert_array_equal(mapped, codes)


def test_infer_ngrams_misses_only_what_heads_no_word():
    found = infer_ngrams(count_text("ACGTACGTT", 4).counts[4])
    assert as_counter(found.counts[4], 4) == count_naively(["ACGTACGTT"], 4)
    assert as_counter(found.counts[2], 2) == count_naively(["ACGTACG"], 2)  # of 6 windows
    assert found.n_bases == 6


def test_counts_of_a_real_genome(data_dir):
    records = read_fasta(data_dir / "genomes/phage/phiX174.fa")
    found = count_ngrams(records.codes, records.runs(), 10)
    text = decode(records.codes)
    for n in (1, 4, 10):
        assert as_counter(found.counts[n], n) == count_naively([text], n)
    assert found.counts[4][kmer_index("GATC")] == 0  # phiX174 avoids the site of MboI


@pytest.mark.parametrize(
    ("codes", "runs", "options", "message"),
    [
        ("ACGT", [[0, 5]], {}, r"run 0 is \[0, 5\].*<= 4"),
        ("ACGT", [[0, 2], [3, 1]], {}, r"run 1 is \[3, 1\]"),
        ("ACGT", [[-1, 2]], {}, r"run 0 is \[-1, 2\]"),
        ("ACGT", [0, 4], {}, r"shape \(2,\), expected \(R, 2\)"),
        ("ACNTACGT", [[0, 8]], {}, r"code 14 at position 2 inside run \[0, 8\)"),
        ("ACNT", [[0, 4]], {"n_max": 6}, "code 14 at position 2"),
        ("ACGT", [[0, 4]], {"n_max": 0}, r"n_max is 0, expected 1\.\.12"),
        ("ACGT", [[0, 4]], {"n_max": 13}, "n_max is 13"),
        ("ACGT", [[0, 4]], {"strands": "reverse"}, "strands is 'reverse', expected 'forward'"),
        ("ACGT", [[0, 4]], {"threads": 0}, "threads is 0"),
    ],
)
def test_wrong_arguments_are_told(codes, runs, options, message):
    with pytest.raises(ValueError, match=message):
        count_ngrams(encode(codes), np.array(runs), **{"n_max": 3, **options})


def test_codes_of_the_wrong_type_are_told():
    with pytest.raises(ValueError, match="codes are int64 of shape"):
        count_ngrams(np.zeros(5, dtype=np.int64), np.array([[0, 5]]), 3)


def test_infer_ngrams_needs_whole_tables():
    with pytest.raises(ValueError, match="17 counts"):
        infer_ngrams(np.zeros(17, dtype=np.int64))
