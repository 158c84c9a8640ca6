"""Golden facts of genomeNLP's case studies: promoters of E. coli, DNA- and RNA-binding proteins."""

import gzip
import hashlib
import itertools
from collections import Counter

import numpy as np
import pytest

from genomelm_utils.datasets.class_records import FastaClasses
from genomelm_utils.datasets.split_plan import Cut
from genomelm_utils.datasets.token_sets import iter_rows
from genomelm_utils.sequences.letters import LetterStream
from genomelm_utils.tokenizers.seen_kmers import SeenKmers
from genomelm_utils.tokenizers.unigram import (
    count_token_lengths,
    list_tokens,
    load_unigram,
    save_unigram,
    train_unigram_on_files,
)
from genomelm_utils.tokenizers.unigram_encoding import LetterEncoder

# tokens of 1, 2, ... 16 letters
LENGTHS = [8, 32, 128, 501, 1531, 4112, 4876, 1762, 836, 1229, 2155, 2475, 1430, 618, 289, 763]
SEEN = "TGGTAATTTAAGCACACGTTGTCAATATTATTTGTTCCTGCGCCTTGAAATAAAATGATGATAAAGATGCGGCAAGTGAAT"


@pytest.fixture(scope="module")
def dna(data_dir):
    folder = data_dir / "classification" / "genomenlp"
    return [folder / "promoter.fasta.gz", folder / "non_promoter.fasta.gz"]


@pytest.fixture(scope="module")
def proteins(data_dir):
    folder = data_dir / "tokenisation" / "protein"
    return [folder / "dna_binding.fa.gz", folder / "rna_binding.fa.gz"]


@pytest.fixture(scope="module")
def t_dna(dna):
    return train_unigram_on_files(dna, 32_000, kind="dna", case="keep").tokenizer


def test_the_files(dna, proteins):
    expected = {
        "promoter": (3382, 273_942, "15dc84fb833f0207"),
        "non_promoter": (3382, 273_942, "7f2d86008e14ee31"),
        "dna_binding": (4114, 2_263_649, "19db5502e302c9d7"),
        "rna_binding": (2754, 1_513_389, "8c3bba4f1f64e75b"),
    }
    for path, (n, n_letters, digest) in zip([*dna, *proteins], expected.values(), strict=True):
        stream = LetterStream(path)
        assert sum(1 for _ in stream) == n
        assert stream.n_letters == n_letters
        assert hashlib.sha256(gzip.decompress(path.read_bytes())).hexdigest()[:16] == digest
    bases = [Counter("".join(one.text for one in LetterStream(path))) for path in dna]
    assert [[one[base] for base in "ACGT"] for one in bases] == [
        [78_912, 56_687, 56_718, 81_625],
        [65_660, 68_164, 75_308, 64_810],
    ]


def test_the_vocabulary_of_promoters(t_dna):
    tokens = list_tokens(t_dna)
    learned = tokens["token"][5:]
    assert (len(tokens), learned.str.startswith("▁").sum()) == (22_751, 2686)
    assert learned.str.lstrip("▁").nunique() == 20_873
    assert tokens["token"][5:12].tolist() == ["T", "A", "G", "C", "AA", "TT", "TG"]
    named = ["▁", "▁A", "▁T", "▁AA", "CCGGTT"]
    assert t_dna.convert_tokens_to_ids(named) == [16, 62, 73, 156, 2304]
    assert not learned.str.contains("N").any()
    weights = tokens.set_index("token")["weight"][["T", "▁AA", "CCGGTT"]]
    assert weights.to_numpy() == pytest.approx([-4.57621, -7.31119, -9.88307], abs=5e-6)
    assert (t_dna.sep_token_id, t_dna.cls_token_id) == (22_751, 22_752)
    lengths = dict(count_token_lengths(tokens).to_numpy().tolist())
    assert lengths == dict(enumerate([1, *LENGTHS]))


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("AACCGGTT", [156, 2304]),
        (SEEN, [815, 175, 13916, 1233, 1818, 19490, 3273, 392, 1019, 717, 93, 7044]),
        ("ACGTN", [4998, 2]),
        ("TATAAT", [634, 34]),
        ("A", [62]),
        ("", []),
        ("aaccggtt", [16, 2]),
        ("AANNCC", [156, 2, 23]),
    ],
)
def test_published_ids(t_dna, text, ids):
    assert t_dna(text).input_ids == ids


def test_all_rows_of_promoters(t_dna, dna):
    """First promoter, and how many tokens rows have, with and without the other strand."""
    records = FastaClasses(dna)
    encoder = LetterEncoder(t_dna)
    (rows,) = iter_rows(records, records.kind, Cut(None, True), encoder.encode)
    first = rows.ids[: rows.offsets[1]].tolist()
    assert rows.features[0].startswith("TAGATGTCC")
    assert first == [14849, 88, 6137, 1994, 7687, 896, 2323, 3626, 1924, 10081, 6494]
    n_tokens = np.diff(rows.offsets)
    assert (len(n_tokens), n_tokens.sum(), n_tokens.max()) == (13_528, 173_005, 17)
    assert n_tokens.mean() == pytest.approx(12.789, abs=5e-4)
    assert (len(np.unique(rows.ids)), (rows.ids == 2).sum()) == (20_790, 0)
    words = {encoder.tokens[i].lstrip("▁") for i in np.unique(rows.ids).tolist()}  # "" is one
    assert (len(words), sum(len(word) > 1 for word in words)) == (19_199, 19_194)
    forward = n_tokens[::2].reshape(2, -1)
    assert forward.mean(axis=1) == pytest.approx([11.485, 11.728], abs=5e-4)
    assert forward.min(axis=1).tolist() == [7, 7] and forward.max(axis=1).tolist() == [15, 15]


def test_written_and_read_by_the_library(t_dna, tmp_path):
    from tokenizers import Tokenizer

    save_unigram(t_dna, tmp_path / "t.json")
    assert Tokenizer.from_file(str(tmp_path / "t.json")).encode("AACCGGTT").ids == [156, 2304]
    assert load_unigram(tmp_path / "t.json")(SEEN).input_ids == t_dna(SEEN).input_ids


@pytest.mark.slow
def test_smaller_vocabularies_are_nested(t_dna, dna):
    found = {100: [6, 13, 40, 24], 500: [63, 98, 52], 2000: [206, 841], 8000: None}
    larger = set(list_tokens(t_dna)["token"])
    for size in sorted(found, reverse=True):
        tokenizer = train_unigram_on_files(dna, size, kind="dna").tokenizer
        if found[size]:
            assert tokenizer("AACCGGTT").input_ids == found[size]
        tokens = set(list_tokens(tokenizer)["token"])
        assert len(tokens) == size
        assert tokens < larger
        larger = tokens


@pytest.mark.slow
def test_breaks_change_the_vocabulary(dna):
    whole = set(list_tokens(train_unigram_on_files(dna, 2000, kind="dna").tokenizer)["token"])
    shared = []
    for size in (9, 18, 27, 40, 54):
        broken = train_unigram_on_files(dna, 2000, kind="dna", break_size=size).tokenizer
        shared.append(len(whole & set(list_tokens(broken)["token"])))
    assert shared == [277, 933, 1085, 1025, 1248]


@pytest.mark.slow
def test_the_vocabulary_of_proteins(proteins):
    tokenizer = train_unigram_on_files(proteins, 2000, case="keep").tokenizer
    tokens = list_tokens(tokenizer)["token"]
    assert (len(tokens), tokens[5:].str.startswith("▁").sum()) == (2000, 9)
    assert tokens[5:10].tolist() == ["S", "A", "T", "V", "R"]
    named = ["▁MA", "SQS", "EPG", "YL", "AAA"]
    assert tokenizer.convert_tokens_to_ids(named) == [400, 533, 1742, 296, 346]
    records = FastaClasses(proteins)
    encoder = LetterEncoder(tokenizer)
    counts = {}
    for chunk in (512, None):
        rows = iter_rows(records, records.kind, Cut(chunk), encoder.encode)
        counts[chunk] = np.concatenate([np.diff(block.offsets) for block in rows])
    assert (len(counts[512]), counts[512].min(), counts[512].max()) == (10_799, 1, 235)
    assert counts[512].mean() == pytest.approx(146.626, abs=5e-4)
    assert counts[None].max() == 2063


def test_kmers_of_promoters(dna):
    records = FastaClasses(dna)
    expected = {6: (4096, 4096), 7: (16_323, 16_370), 8: (62_490, 64_540), 9: (182_805, 224_620)}
    for k, sizes in expected.items():
        found = []
        for strands in (False, True):
            kmers = SeenKmers(k, "dna")
            cut = Cut(None, strands)
            kmers.add(text for one in records for _, text in cut.rows(one, records.kind))
            found.append(len(kmers.words))
        assert tuple(found) == sizes
        (rows,) = iter_rows(records, records.kind, Cut(), kmers.encode)
        assert set(np.diff(rows.offsets).tolist()) == {82 - k}


@pytest.mark.parametrize(("k", "word", "n"), [(2, "AA", 47_164), (3, "AAA", 16_647)])
def test_most_frequent_kmers(dna, k, word, n):
    kmers = SeenKmers(k, "dna")
    kmers.add("".join(one) for one in itertools.product("ACGT", repeat=k))
    records = FastaClasses(dna)
    (rows,) = iter_rows(records, records.kind, Cut(), kmers.encode)
    counts = np.bincount(rows.ids)
    assert (kmers.tokens[counts.argmax()], counts.max()) == (word, n)
