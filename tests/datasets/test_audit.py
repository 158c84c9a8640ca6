"""The audit, on collections with planted defects and on the published files."""

import numpy as np
import pytest

from genomelm_utils.datasets import audit, defects
from genomelm_utils.datasets.labelled import LabelledSet
from genomelm_utils.sequences.alphabet import decode, encode, reverse_complement
from genomelm_utils.sequences.genome import build_store


def random_set(rng, n, length, **kwargs) -> LabelledSet:
    codes = rng.integers(0, 4, (n, length), dtype=np.uint8)
    return of_codes(codes, np.arange(n) % 2, **kwargs)


def of_codes(codes, labels, **kwargs) -> LabelledSet:
    names = [f"line {i + 2}" for i in range(len(labels))]
    return LabelledSet(codes, np.asarray(labels), names, "test", **kwargs)


def test_audit_set_by_hand():
    texts = ["ACGT", "AACC", "AACC", "GGTT", "GGGGN", "TTTT"]
    found = audit.audit_set("x", of_codes([encode(t) for t in texts], [0, 0, 0, 1, 1, 1]))
    row = found.iloc[0]
    assert (row["rows"], row["classes"], row["rows_per_class"]) == (6, 2, "3/3")
    assert (row["length_min_bp"], row["length_max_bp"]) == (4, 5)
    assert row["repeats_identical"] == 1  # AACC
    assert row["repeats_reverse"] == 1  # GGTT is AACC from the other side
    assert row["conflicts"] == 1  # and has another label
    assert row["ambiguous_bases"] == 1
    assert row["gc_class_0"] == pytest.approx(6 / 12)
    assert row["gc_class_1"] == pytest.approx(6 / 12)


def naive_overlap(a: list[str], b: list[str]) -> dict[str, int]:
    def flip(text):
        return decode(reverse_complement(encode(text)))

    def words(text):
        pieces = [text[i : i + 30] for i in range(len(text) - 29)]
        return {min(piece, flip(piece)) for piece in pieces if "N" not in piece}

    in_a, in_b = set().union(*map(words, a)), set().union(*map(words, b))
    short, long = (a, b) if len(a[0]) < len(b[0]) else (b, a)
    return {
        "identical": sum(text in b for text in a),
        "reverse": sum(flip(text) in b and text not in b for text in a),
        "contained": sum(any(s in text or flip(s) in text for s in short) for text in long)
        * (len(a[0]) != len(b[0])),
        "share_30mer_a": sum(bool(words(text) & in_b) for text in a),
        "share_30mer_b": sum(bool(words(text) & in_a) for text in b),
    }


def test_overlaps_against_string_search(rng):
    long, short = random_set(rng, 12, 90), random_set(rng, 9, 40)
    again = random_set(rng, 10, 90)
    again.codes[0] = long.codes[3]
    again.codes[1] = reverse_complement(long.codes[4])
    again.codes[2, :35] = long.codes[5, 50:85]  # a piece only
    for row in (0, 1, 2):
        long.codes[row, 25:65] = short.codes[row]
    long.codes[6, 7:47] = reverse_complement(short.codes[5])
    long.codes[7, 50:90] = short.codes[6]
    long.codes[8, 10:49] = short.codes[7, :39]  # all but one base
    short.codes[8, 20] = 14
    sets = {"long": long, "short": short, "again": again}
    found = audit.audit_overlaps(sets)
    texts = {name: [decode(codes) for codes in one.codes] for name, one in sets.items()}
    assert len(found) == 2
    for row in found.to_dict("records"):
        expected = naive_overlap(texts[row["a"]], texts[row["b"]])
        assert {key: row[key] for key in expected} == expected
    pair = found[found["b"] == "short"].iloc[0]
    assert (pair["contained"], pair["at_bp"], pair["contained_at"]) == (5, 25, 3)


def test_audit_genome(tmp_path):
    fasta = tmp_path / "x.fa"
    fasta.write_text(">a\nACGTNNNNggcc\n>b\nAAAA\n>c\nAAAA\n")
    row = audit.audit_genome("toy", build_store(fasta, tmp_path / "store")).iloc[0]
    assert (row["records"], row["bases"], row["longest_bp"]) == (3, 20, 12)
    assert row["n_share"] == pytest.approx(4 / 20)
    assert row["gc"] == pytest.approx(6 / 16)
    assert row["soft_masked_share"] == pytest.approx(4 / 20)
    assert (row["definite_runs"], row["repeated_records"]) == (4, 1)
    assert (row["skipped_records"], row["skipped_names"]) == (0, "")


def test_audit_genome_names_records_without_bases(tmp_path):
    files = [tmp_path / "x.fa", tmp_path / "y.fa"]
    files[0].write_text(">a\nACGT\n>b\n>c\n")
    files[1].write_text(">d\nACGT\n>e\n")
    row = audit.audit_genome("toy", build_store(files, tmp_path / "store")).iloc[0]
    assert (row["records"], row["skipped_records"], row["skipped_names"]) == (2, 3, "b, c, e")


def test_planted_defects_are_found(rng):
    """Each defect once, and nothing else: the collection is random otherwise."""
    test = random_set(rng, 400, 40)
    train = random_set(rng, 600, 40, quoted=True)
    for label, word in ((0, "GT"), (1, "AG")):
        rows = np.flatnonzero(train.labels == label)
        train.codes[rows[::2], 20:22] = encode(word)
        other = np.flatnonzero(train.labels == label)[1::2]
        train.codes[other, 20:22] = encode("CT" if word == "GT" else "AC")
    train.codes[0] = reverse_complement(train.codes[2])
    train.codes[9] = test.codes[5]
    sets = {
        "S/100": train,
        "S/10": random_set(rng, 20, 40, quoted=True),
        "S/test": test,
        "S/dev": test.take(np.arange(100, 300)),
    }
    found = defects.find_defects(sets).set_index(["defect", "where"])["measured"]
    assert found["quoted train, bare test", "S"] == 2
    assert found["rows per class and shot", "S/100"] == 3
    assert found["dev rows in test", "S/dev"] == 200
    assert found["dev is test from row", "S/dev"] == 100
    assert found["repeated rows", "S/100"] == 1
    assert found["train rows in test", "S/100"] == 1
    strands = [where for defect, where in found.index if defect == "both strands"]
    assert {where.split(" at ")[0] for where in strands} == {
        "S/100 class 0 GT",
        "S/100 class 0 CT",
        "S/100 class 1 AG",
        "S/100 class 1 AC",
    }
    assert len(found) == 6 + 4


def test_shuffled_negatives_are_found(rng):
    positives = rng.integers(0, 4, (50, 300), dtype=np.uint8)
    negatives = rng.integers(0, 4, (50, 300), dtype=np.uint8)
    for row in range(10):
        kept = rng.permutation(20)[:8]
        for block in kept:
            place = slice(15 * block, 15 * block + 15)
            negatives[row, place] = positives[row + 5, place]
    shared = defects.count_shared_blocks(negatives, positives)
    assert shared.tolist() == [8] * 10 + [0] * 40
    codes = np.concatenate([positives, negatives])
    one = of_codes(codes, [1] * 50 + [0] * 50)
    found = list(defects.find_shuffled_negatives({"P/50": one}))
    assert [finding.measured for finding in found] == [10, 10]


def test_published_counts(data_dir):
    """Source: specification of GeneMask, golden fact 16 and section 5."""
    found = audit.audit_sets(audit.read_published_sets(data_dir)).set_index("file")
    assert found.loc["Prom-core/test", "rows_per_class"] == "2926/2994"
    assert found.loc["Splice-40/test", "rows_per_class"] == "1048/986/966"
    lengths = {"Prom-core": 70, "Prom-300": 300, "Cohn-enh": 500, "Splice-40": 40}
    for file, row in found.iterrows():
        length = lengths[file.split("/")[0]]
        assert (row["length_min_bp"], row["length_max_bp"]) == (length, length)
        assert row["quoted"] == file.rpartition("/")[2].isdigit()
        assert row["ambiguous_bases"] == row["skipped"] == 0


def test_published_defects_are_found_as_recorded(data_dir):
    found = defects.find_defects(audit.read_published_sets(data_dir))
    on_record = found[found["expected"].notna()].set_index(["defect", "where"])
    assert len(on_record) == len(defects.EXPECTED)
    wrong = on_record[~on_record["agrees"].astype(bool)]
    # The record counts 29 repeated rows in this file. There are 28 here, and one more in the
    # 50-shot file.
    assert wrong.index.tolist() == [("repeated rows", "Splice-40/500")]
    assert wrong["measured"].tolist() == [28]
    repeated = found[found["defect"] == "repeated rows"].set_index("where")["measured"]
    assert repeated["Splice-40/50"] == 1


def test_a_folder_has_the_names_of_the_published_files(data_dir):
    folder = data_dir / "classification" / "genemask"
    published = set(audit.read_published_sets(data_dir)) - {audit.STAND_IN}
    assert set(audit.read_folder(folder)) == published
    with pytest.raises(FileNotFoundError, match=r"no \.tsv or \.csv"):
        audit.read_folder(data_dir / "motifs")
