"""Variants and saturation: files read, reference alleles checked, effects by hand."""

import gzip

import numpy as np
import pandas as pd
import pytest
from explained_toys import WORD, random_classifier, scanner

from genomelm_utils.interpretation.explained import BlackBox
from genomelm_utils.interpretation.explained_tokens import KmerClassifier
from genomelm_utils.interpretation.mutagenesis import saturate
from genomelm_utils.interpretation.variant_files import check_variants, read_variants
from genomelm_utils.interpretation.variants import (
    describe_variants,
    saturation_map,
    score_variants,
    snp_effects,
    snp_table,
)
from genomelm_utils.sequences.alphabet import encode

VCF = (
    "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\n"
    "chr1\t3\trs1\tG\tA,T\t.\nchr1\t5\t.\ta\tAGG\t.\nchr1\t6\t.\tC\t<DEL>\t.\nchr1\t7\t.\tGT\tG\t.\n"
)
CHR1 = encode("ACGTACGTACGT")


def test_a_vcf_is_read_row_by_alternative(tmp_path):
    path = tmp_path / "some.vcf.gz"
    path.write_bytes(gzip.compress(VCF.encode()))
    table, skipped = read_variants(path)
    rows = table[["record", "start", "end", "ref", "alt"]].to_numpy().tolist()
    assert rows == [
        ["chr1", 2, 3, "G", "A"],
        ["chr1", 2, 3, "G", "T"],
        ["chr1", 4, 5, "A", "AGG"],
        ["chr1", 6, 8, "GT", "G"],
    ]
    assert table["name"].tolist() == ["rs1", "rs1", "chr1:5:A>AGG", "chr1:7:GT>G"]
    assert skipped[["line", "reason"]].to_numpy().tolist() == [
        [5, "alternative '<DEL>' is no plain bases"]
    ]


def test_both_kinds_of_table_are_read(tmp_path):
    path = tmp_path / "one.tsv"
    path.write_text("record\tpos\tref\talt\tname\r\na\t1\tC\tG\tfirst\r\n")
    assert read_variants(path)[0].to_numpy().tolist() == [["a", 0, 1, "C", "G", "first"]]
    path.write_text("record\tstart\tend\talt\na\t0\t2\t\n")  # DNABERT's replacement, a deletion
    assert read_variants(path)[0][["start", "end", "ref", "alt"]].to_numpy().tolist() == [
        [0, 2, "", ""]
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("a\tb\n1\t2\n", "line 1: columns a, b, expected record, pos, ref, alt"),
        ("#CHROM\tPOS\tREF\tALT\n", "expected a VCF header"),
        ("record\tpos\tref\talt\na\tx\tC\tG\n", "line 2: pos is 'x', expected a whole number"),
        ("record\tpos\tref\talt\na\t0\tC\tG\n", "line 2: pos is 0"),
        ("record\tpos\tref\talt\na\t1\tC\n", "line 2: 3 columns, expected 4"),
        ("record\tpos\tref\talt\na\t1\tC\tC\n", r"no variant that can be scored \(1 skipped"),
    ],
)
def test_damaged_files_are_named_with_their_line(tmp_path, text, message):
    path = tmp_path / "bad.tsv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_variants(path)
    with pytest.raises(FileNotFoundError, match="expected a VCF or TSV"):
        read_variants(tmp_path / "none.vcf")


def variants(*rows):
    table = pd.DataFrame(rows, columns=["record", "start", "end", "ref", "alt"])
    return table.assign(name=[f"v{i}" for i in range(len(rows))])


def test_reference_alleles_are_checked():
    wrong = variants(
        ("chr1", 0, 1, "A", "C"), ("chr1", 1, 2, "A", "C"), ("chr1", 11, 13, "TT", "C")
    )
    with pytest.raises(ValueError, match=r"v1: reference allele A, the sequence has C \(2 of 3"):
        check_variants(wrong, {"chr1": CHR1})
    kept, left = check_variants(wrong, {"chr1": CHR1}, "skip")
    assert kept["name"].tolist() == ["v0"] and left["name"].tolist() == ["v1", "v2"]
    assert "has 12 bases, the variant ends at 13" in left["reason"].iloc[1]
    with pytest.raises(ValueError, match="'chr2', which is not among the sequences; did you mean"):
        check_variants(variants(("chr2", 0, 1, "A", "C")), {"chr1": CHR1}, "skip")
    filled, _ = check_variants(variants(("chr1", 0, 2, "", "C")), {"chr1": CHR1})
    assert filled["ref"].tolist() == ["AC"]


def test_effects_of_variants_by_hand():
    codes = encode(f"AAAA{WORD}AAAAA")
    list_ = variants(
        ("a", 6, 7, "A", "G"),  # inside the word: it is gone
        ("a", 0, 1, "A", "G"),  # outside
        ("a", 15, 16, "A", f"A{WORD}"),  # a second one is inserted
        ("a", 4, 5, "T", ""),  # its first base is deleted
    )
    table, left_out = score_variants(scanner(), {"a": codes}, list_)
    assert table["change"].tolist() == [-1, 0, 1, -1] and left_out.empty
    assert table["ref_value"].tolist() == [1, 1, 1, 1]
    windowed, _ = score_variants(scanner(), {"a": codes}, list_.iloc[:1], window_bp=9)
    assert windowed["change"].tolist() == [-1]
    with pytest.raises(ValueError, match="do not fit a window of 30"):
        score_variants(scanner(), {"a": codes}, list_, window_bp=30)


def test_windows_hold_the_variant_wherever_it_is():
    seen = []
    box = BlackBox(lambda codes: seen.extend(codes) or np.zeros((len(codes), 1)), ["x"])
    rows = variants(*[("chr1", i, i + 1, "", "N") for i in range(12)])
    score_variants(box, {"chr1": CHR1}, rows, window_bp=4)
    assert {len(one) for one in seen} == {4}
    assert sum((one == 14).sum() for one in seen) == 12


def test_dnabert_effects_by_hand():
    diff, ratio = snp_effects(np.array([0.5, 0.8]), np.array([0.8, 0.5]))
    assert diff == pytest.approx([0.24, -0.24])
    assert ratio == pytest.approx([-2, 2])
    assert np.isfinite(snp_effects(np.array([0.0]), np.array([1.0]))[1]).all()


def test_saturation_holds_every_base_at_every_place():
    codes = [encode(f"AA{WORD}N"), encode("ACGTACG")]
    tables = saturate(scanner(), codes)
    assert [one.shape for one in tables] == [(10, 4, 1), (7, 4, 1)]
    assert np.isnan(tables[0][9]).all()
    own = tables[0][np.arange(9), codes[0][:9], 0]
    assert own.tolist() == [1] * 9
    assert tables[0][2:9, :, 0].sum() == 7  # any other base destroys the word


def test_saturation_of_a_classifier_equals_predicting_each_mutant():
    model = KmerClassifier(random_classifier())
    codes = encode("ACGTTGCAAC")
    table = snp_table(model, [codes], target=1, names=["x"])
    assert len(table) == 30 and set(table["record"]) == {"x"}
    row = table.iloc[17]
    mutant = codes.copy()
    mutant[row["position"]] = encode(row["alt"])[0]
    logits = model.predict([codes, mutant])
    odds = logits[:, 1] - logits[:, 0]
    assert row["change"] == pytest.approx(odds[1] - odds[0], abs=1e-5)
    assert row["log_odds_ratio"] == pytest.approx(-row["change"] / np.log(2), abs=1e-4)
    everything = snp_table(model, [codes], target=1, rule="reference")
    same = everything[everything["ref"] == everything["alt"]]
    assert len(everything) == 40 and (same["diff"] == 0).all() and len(same) == 10
    assert "largest effect" in describe_variants(table)


def test_the_saturation_map_is_zero_at_the_own_base():
    table = saturation_map(scanner(), encode(f"A{WORD}C"))
    assert len(table) == 36 and (table.loc[table["is_ref"], "change"] == 0).all()
    assert table["change"].min() == -1


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="rule is 'x'"):
        snp_table(scanner(), [encode("ACGTACGT")], rule="x")
    with pytest.raises(ValueError, match="not finite"):
        saturate(BlackBox(lambda codes: np.full((len(codes), 1), np.nan), ["x"]), [encode("A")])
    with pytest.raises(ValueError, match="on_mismatch is 'drop'"):
        check_variants(variants(("chr1", 0, 1, "A", "C")), {"chr1": CHR1}, "drop")
    with pytest.raises(ValueError, match="none of 1 variants fits"):
        bad = variants(("chr1", 0, 1, "G", "C"))
        score_variants(scanner(), {"chr1": CHR1}, bad, on_mismatch="skip")
