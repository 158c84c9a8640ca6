"""Raw formats of the published assays in small files written as they are, and their labels."""

import sys

import numpy as np
import pandas as pd
import pytest

from genomelm_utils.datasets import (
    assay_chipseq,
    assay_fluorescence,
    assay_lenti,
    assay_mpra,
    assay_rnaseq,
)
from genomelm_utils.datasets.activity_task import replicate_values
from genomelm_utils.datasets.assay_sure import (
    count_bin,
    deal_quota,
    fragment_sequence,
    read_sure,
    sure_set,
)
from genomelm_utils.sequences.alphabet import complement, decode, encode, reverse_complement
from tests.datasets.activity_toys import SAMPLES, toy_genome, write_fluorescence, write_lenti


def test_fluorescence(tmp_path):
    counts, _ = write_fluorescence(tmp_path)
    found = assay_fluorescence.read_fluorescence(tmp_path / "counts.csv", tmp_path / "designs.tsv")
    assert found.spec.outputs == ("JURKAT", "K562", "THP1")
    assert found.skipped["n"].tolist() == [1, 1]
    assert found.columns["cell_specific_class"].tolist() == [
        *("ClassI_THP1_up", "ClassI", "ClassII_K562_tile_4", "ClassIII_synthetic"),
    ]
    kept = counts.iloc[:5]
    plus = kept[SAMPLES] + 1
    share = plus / plus.sum()
    by_hand = np.log2(share["K1_P4"] / share["K1_P7"]) + np.log2(share["K2_P4"] / share["K2_P7"])
    np.testing.assert_allclose(found.labels_ST[:, 1], by_hand[:4] / 2, rtol=1e-5)
    first = assay_fluorescence.read_fluorescence(
        tmp_path / "counts.csv", tmp_path / "designs.tsv", version="first", cells=["K562"]
    )
    by_hand = np.log2(plus["K1_P4"] / plus["K1_P7"]) + np.log2(plus["K2_P4"] / plus["K2_P7"])
    np.testing.assert_allclose(first.labels_ST[:, 0], by_hand[:4] / 2, rtol=1e-5)


def test_specificity_and_classes(tmp_path):
    write_fluorescence(tmp_path)
    paths = tmp_path / "counts.csv", tmp_path / "designs.tsv"
    plain = assay_fluorescence.read_fluorescence(*paths)
    specific = assay_fluorescence.read_fluorescence(*paths, labels="specificity")
    replicates = plain.columns
    ratio = {c: 2 ** replicates[f"replicate_{c}_1"] for c in ("JURKAT", "K562", "THP1")}
    other = {c: 2 ** replicates[f"replicate_{c}_2"] for c in ("JURKAT", "K562", "THP1")}
    by_hand = (
        np.log2(ratio["JURKAT"] / ((ratio["K562"] + ratio["THP1"]) / 2))
        + np.log2(other["JURKAT"] / ((other["K562"] + other["THP1"]) / 2))
    ) / 2
    np.testing.assert_allclose(specific.labels_ST[:, 0], by_hand, rtol=1e-5)
    classes = assay_fluorescence.read_fluorescence(*paths, labels="classes")
    assert classes.spec.kind == "multilabel"
    # five rows are measured, so two are above the median; one of the five has no design
    assert classes.labels_ST.sum(0).max() <= 2
    with pytest.raises(ValueError, match="expected a list of JURKAT"):
        assay_fluorescence.read_fluorescence(*paths, cells="JURKAT")


def test_a_provenance_that_contradicts_itself_is_refused():
    with pytest.raises(ValueError, match="log2FoldChange"):
        assay_fluorescence.name_class("ClassI", "g ~ x ~ -1 ~ y ~ upregulated in THP1")


def test_construct():
    """Source: golden facts: 1,177 bases, promoter at 20 to 269."""
    left, right = "CAGGGAATGGACTAACTACG", "GGTAGGCGTGTACGGTGGGA"
    plasmid = "A" * 1734 + left + "N" * 250 + right
    plasmid += "A" * (4865 - len(plasmid))
    promoter = np.full(250, 3, dtype=np.uint8)
    codes = assay_fluorescence.build_construct(plasmid, promoter)
    assert len(codes) == 1177
    assert decode(codes[:20]) == left
    assert (codes[20:270] == 3).all()
    assert decode(codes[270:290]) == right
    with pytest.raises(ValueError, match="expected 4865"):
        assay_fluorescence.build_construct(plasmid[1:], promoter)


def test_replicates_of_the_reference_are_flattened(tmp_path):
    write_fluorescence(tmp_path)
    data = assay_fluorescence.read_fluorescence(tmp_path / "counts.csv", tmp_path / "designs.tsv")
    good = replicate_values(data)
    bad = replicate_values(data, "reference")
    np.testing.assert_allclose((good[0] + good[1]) / 2, data.labels_ST, rtol=1e-5)
    order = [np.argsort(one[0], axis=0).tolist() for one in (good, bad)]
    assert order[0] == order[1]
    assert np.ptp(bad[0]) < np.ptp(good[0])
    with pytest.raises(ValueError, match="rule is"):
        replicate_values(data, "released")


def gene(strand: int, tss: int = 1001):
    return pd.DataFrame([{"chromosome": "1", "tss": tss, "strand": strand}]).iloc[0]


def test_windows_of_both_strands_are_mirror_images():
    fetch, codes = toy_genome()
    plus = assay_rnaseq.cut_window(fetch, gene(1), (-2, 3))
    minus = assay_rnaseq.cut_window(fetch, gene(-1), (-2, 3))
    assert plus.tolist() == codes["chr1"][998:1003].tolist()
    assert minus.tolist() == reverse_complement(codes["chr1"][998:1003]).tolist()
    # base 0 of a window at (0, 1) is the TSS itself, on either strand
    assert assay_rnaseq.cut_window(fetch, gene(-1), (0, 1))[0] == complement(codes["chr1"][1000])
    shifted = assay_rnaseq.cut_window(fetch, gene(-1), (0, 1), "reference")
    assert shifted[0] == complement(codes["chr1"][999])


def test_rnaseq_tables(tmp_path):
    fetch, _ = toy_genome(chromosomes=("1", "2", "4", "Y"))
    tss = pd.DataFrame(
        {
            "Gene stable ID": ["E1", "E2", "E4", "EY", "E9"],
            "Gene name": ["a", "b", "d", "y", "z"],
            "Transcription start site (TSS)": [1500, 1500, 1500, 1500, 100],
            "Strand": [1, -1, 1, 1, 1],
            "Chromosome/scaffold name": ["1", "2", "4", "Y", "1"],
        }
    )
    tss.to_csv(tmp_path / "tss.tsv", sep="\t", index=False)
    roadmap = pd.DataFrame(
        {"gene_id": ["E1", "E2", "E4", "EY", "E9", "E0"], "E000": 9, "E003": [3, 1, 0, 5, 5, 1],
         "E004": [7, 1, 15, 5, 5, 1]}
    )  # fmt: skip
    roadmap.to_csv(tmp_path / "rpkm.tsv", sep="\t", index=False)
    table, by = assay_rnaseq.read_expression("Roadmap", tmp_path / "rpkm.tsv")
    assert list(table) == ["E003", "E004"]
    genes = assay_rnaseq.read_tss(tmp_path / "tss.tsv")
    data = assay_rnaseq.expression_set("Roadmap", table, by, genes, fetch, scaling="reference")
    assert dict(zip(data.skipped["reason"], data.skipped["n"], strict=True)) == {
        "no TSS for the gene": 1,
        "chromosome in no part": 1,
        "a window leaves the chromosome": 1,
    }
    assert data.part_S.tolist() == ["train"] * 3 + ["test"] * 3 + ["valid"] * 3
    logs = np.log2(np.array([3, 1, 0]) + 1)
    by_hand = (logs - logs.mean()) / logs.std()
    np.testing.assert_allclose(data.labels_ST[::3, 0], by_hand, rtol=1e-5)
    assert set(data.length_S) == {250}
    # corrected: held-out genes have no part in the mean and deviation that labels are scaled by
    more = pd.concat([genes, genes[genes["gene_id"] == "E1"].assign(gene_id="E5")])
    table.loc["E5"] = [15, 15]
    scaled = assay_rnaseq.expression_set("Roadmap", table, by, more, fetch)
    label_of = dict(zip(scaled.columns["gene"], scaled.labels_ST[:, 0], strict=True))
    assert label_of == pytest.approx({"E1": -1, "E5": 1, "E2": -2, "E4": -3}, abs=1e-5)
    ccle = pd.DataFrame({"a (12)": [1.0, 2.0], "b (13)": [0.0, 3.0]}, index=["ACH-1", "ACH-2"])
    ccle.to_csv(tmp_path / "ccle.csv")
    lines = pd.DataFrame({"DepMap_ID": ["ACH-1", "ACH-2"], "StrippedCellLineName": ["K", "T"]})
    lines.to_csv(tmp_path / "lines.csv", index=False)
    found, by = assay_rnaseq.read_expression("CCLE", tmp_path / "ccle.csv", tmp_path / "lines.csv")
    assert by == "gene_name"
    np.testing.assert_allclose(found.loc["b", ["K", "T"]], [0, 7])


def test_encode_tracks(tmp_path):
    columns = ["File accession", "Experiment accession", "Biosample term name", "Experiment target",
               "File assembly", "File analysis title"]  # fmt: skip
    rows = [
        ("F1", "X1", "K562", "CTCF-human", "GRCh38", "ENCODE4 v1 GRCh38"),
        ("F2", "X1", "K562", "CTCF-human", "GRCh38", "ENCODE3 GRCh38"),
        ("F3", "X2", "HepG2", "SP1-human", "GRCh38", "ENCODE3 GRCh38"),
        ("F4", "X2", "HepG2", "SP1-human", "hg19", "ENCODE3 hg19"),
    ]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "metadata.tsv", sep="\t", index=False)
    found = assay_chipseq.read_tracks(tmp_path / "metadata.tsv")
    assert found["track"].tolist() == ["HepG2_SP1_F3", "K562_CTCF_F1"]


def test_peaks_are_sorted_by_number():
    """By the text 'chr1:999' stands after 'chr1:1000', which tears a group apart."""
    peaks = pd.DataFrame(
        {"chromosome": "chr1", "position": [999, 1000, 2000], "track": list("abc")}
    )
    assert assay_chipseq.group_peaks(peaks)["tracks"].tolist() == [("a", "b"), ("c",)]
    reference = assay_chipseq.group_peaks(peaks, "reference")
    assert reference["tracks"].tolist() == [("b",), ("c",), ("a",)]


def test_chipseq(tmp_path):
    fetch, codes = toy_genome(chromosomes=("1", "2", "4"))
    lines = [
        ("chr1", 900, 1100, ".", 0, ".", 9, 9, 2.0, 100),
        ("chr1", 900, 990, ".", 0, ".", 9, 9, 1.0, 9),
    ]
    pd.DataFrame(lines).to_csv(tmp_path / "a.bed.gz", sep="\t", header=False, index=False)
    read = assay_chipseq.read_peaks(tmp_path / "a.bed.gz")
    assert read.to_numpy().tolist() == [["chr1", 1000]]  # q of 0.1 is out, summit from the start
    other = pd.DataFrame(
        {"chromosome": ["chr1", "chr2", "chr4", "chr2"], "position": [1050, 1500, 1500, 100]}
    )
    data = assay_chipseq.chipseq_set({"b": other, "a": read}, fetch, min_peaks=1)
    assert data.spec.outputs == ("a", "b")  # in order, whatever the mapping's
    assert len(data) == 6
    assert data.codes[0].tolist() == codes["chr1"][725:1325].tolist()
    assert data.labels_ST[:2].tolist() == [[1, 1], [0, 0]]
    assert np.isnan(data.labels_ST[2, 0])
    assert sorted(data.codes[0].tolist()) == sorted(data.codes[1].tolist())
    assert data.codes[0].tolist() != data.codes[1].tolist()
    assert data.part_S.tolist() == ["train"] * 2 + ["test"] * 2 + ["valid"] * 2
    assert data.skipped["n"].tolist() == [1]
    off = assay_chipseq.chipseq_set(
        {"b": other, "a": read}, fetch, min_peaks=1, coordinates="reference"
    )
    assert off.codes[0].tolist() == codes["chr1"][724:1324].tolist()


def test_sure_bins():
    """Source: golden facts of the released task."""
    means = np.array([0, 0.5, 10, 10.01, 30, 30.1, 101])
    assert count_bin(means).tolist() == [0, 1, 1, 2, 3, 4, 4]
    assert deal_quota(50, [30, 3, 3]) == (30, 3, 3)
    assert deal_quota(20, [30, 3, 3]) == (14, 3, 3)
    assert deal_quota(5, [30, 3, 3]) == (3, 1, 1)


def test_sure(tmp_path):
    fetch, codes = toy_genome()
    rng = np.random.default_rng(0)
    n = 60
    start = rng.integers(1, 2700, n)
    table = pd.DataFrame({"chr": "chr1", "start": start, "end": start + rng.integers(99, 200, n)})
    table["strand"] = np.where(np.arange(n) % 2, "-", "+")
    table["SNP_ABS_POS"], table["SNP_SEQ"] = "", ""
    table["SuRE42_1"], table["SuRE42_2"] = rng.integers(0, 40, n), rng.integers(0, 40, n)
    table["SuRE42_HEPG2_1"] = 0
    table.loc[0, ["SNP_ABS_POS", "SNP_SEQ"]] = [str(start[0] + 3), "A"]
    table.loc[1, ["SNP_ABS_POS", "SNP_SEQ"]] = [str(start[1] + 3), "A"]
    table.loc[2, ["SNP_ABS_POS", "SNP_SEQ"]] = [str(start[2] + 3), "R"]
    table.to_csv(tmp_path / "sure.tsv", sep="\t", index=False)
    fragments = read_sure(tmp_path / "sure.tsv")
    assert fragments["K562"].iloc[0] == (table["SuRE42_1"].iloc[0] + table["SuRE42_2"].iloc[0]) / 2
    plus, minus, ambiguous = (next(fragments.iloc[[i]].itertuples()) for i in range(3))
    assert fragment_sequence(plus, fetch)[3] == 0
    assert fragment_sequence(minus, fetch)[-4] == 3
    assert fragment_sequence(minus, fetch, "reference")[-4] == 0
    assert fragment_sequence(ambiguous, fetch) is None
    whole = fragment_sequence(next(fragments.iloc[[4]].itertuples()), fetch)
    assert whole.tolist() == codes["chr1"][start[4] - 1 : fragments["end"].iloc[4]].tolist()
    data = sure_set("SuRE42_HG02601", fragments, fetch, quota=(1000, 100, 100))
    assert data.spec.name == "SuRE_SuRE42_HG02601"
    assert data.spec.head_outputs[7] == "HepG2:11-20"
    assert (
        dict(zip(data.skipped["reason"], data.skipped["n"], strict=True))["ambiguous variant"] == 1
    )
    assert set(data.labels_ST[:, 1]) == {0.0}
    assert (np.diff(data.labels_ST[:, 0]) >= 0).all()
    means = sure_set("g", fragments, fetch, quota=(1000, 100, 100), kind="regression")
    np.testing.assert_allclose(count_bin(means.labels_ST[:, 0]), data.labels_ST[:, 0])


@pytest.mark.parametrize("suffix", ["npz", "hdf5"])
def test_sharpr(tmp_path, suffix):
    rng = np.random.default_rng(0)
    paths = {}
    for part, n in (("train", 6), ("valid", 2), ("test", 2)):
        codes = rng.integers(0, 4, (n, 145))
        paths[part] = tmp_path / f"{part}.{suffix}"
        arrays = {"X/sequence": np.eye(4)[codes], "Y/output": rng.random((n, 12))}
        if suffix == "npz":
            np.savez(paths[part], **arrays)
        else:
            with pytest.importorskip("h5py").File(paths[part], "w") as file:
                for name, array in arrays.items():
                    file[name] = array
    data = assay_mpra.read_sharpr(paths)
    assert data.codes[-1].tolist() == codes[-1].tolist()
    assert data.spec.outputs.index("K562_SV40P_rep2") == 4
    assert data.spec.headline_columns == [2, 5, 8, 11]
    assert data.counts()["n_rows"].tolist() == [6, 2, 2]


def test_files_that_need_another_package_name_it(tmp_path, monkeypatch):
    for package in ("h5py", "openpyxl"):
        monkeypatch.setitem(sys.modules, package, None)
    paths = {part: tmp_path / f"{part}.hdf5" for part in ("train", "valid", "test")}
    for path in paths.values():
        path.touch()
    with pytest.raises(ImportError, match=r"train.hdf5: reading HDF5 needs h5py, .*\.\[assays\]"):
        assay_mpra.read_sharpr(paths)
    (tmp_path / "large_scale_positions.xlsx").touch()
    with pytest.raises(ImportError, match=r"s.xlsx: reading a workbook needs openpyxl, .*assays"):
        assay_lenti.read_lenti(tmp_path)


def test_lenti_workbooks(tmp_path, rng):
    pytest.importorskip("openpyxl")
    inner = write_lenti(tmp_path, rng)
    data = assay_lenti.lenti_set(*assay_lenti.read_lenti(tmp_path))
    row_of = {decode(one): row for row, one in enumerate(data.codes)}
    labels = {text: data.labels_ST[row_of[text]].tolist() for text in inner if text in row_of}
    assert labels[inner[1]] == [1.0, 11.0, 21.0]
    assert labels[inner[4]] == [1.0, 1.0, 1.0]
    turned = decode(reverse_complement(encode(inner[1])))
    assert data.labels_ST[row_of[turned]].tolist() == [-2.0] * 3
    assert inner[3] not in labels and data.skipped["n"].tolist() == [1]  # nowhere measured
    parts = [data.part_S[row_of[text]] for text in (*inner[:3], *inner[4:7])]
    assert parts == ["train", "test", "valid", "train", "train", "valid"]
    with pytest.raises(FileNotFoundError, match="expected lentiMPRA's workbook"):
        assay_lenti.read_lenti(tmp_path / "nowhere")
    (tmp_path / "large_scale_exps.xlsx").unlink()
    pd.DataFrame({"name": ["a"]}).to_excel(tmp_path / "large_scale_exps.xlsx", sheet_name="Sheet1")
    with pytest.raises(ValueError, match="no sheet 'K562_summary_data', found Sheet1"):
        assay_lenti.read_lenti(tmp_path)


def test_lenti_pairs_stay_together():
    rng = np.random.default_rng(0)
    inner = ["".join(row) for row in rng.choice(list("ACGT"), (60, 200))]
    full = ["A" * 15 + one + "C" * 15 for one in inner]
    sheet = pd.DataFrame({"sequence": full, "chromosome": ["chr2", "chr4", "chr1", *[""] * 57]})
    sheet["mean"], sheet["reverse [log2(rna/dna)]"] = 1.0, 2.0
    data = assay_lenti.lenti_set(
        {"K562": sheet, "HepG2": sheet.drop(columns="reverse [log2(rna/dna)]")}
    )
    assert len(data) == 120
    assert data.labels_ST[0].tolist()[:2] == [1.0, 1.0]
    assert data.labels_ST[60, 0] == 2.0
    assert np.isnan(data.labels_ST[60, 1])
    assert decode(data.codes[60]) == decode(reverse_complement(encode(inner[0])))
    assert (data.part_S[:60] == data.part_S[60:]).all()
    assert data.part_S[:3].tolist() == ["test", "valid", "train"]
    apart = assay_lenti.lenti_set({"K562": sheet}, pairs="reference")
    assert (apart.part_S[:60] != apart.part_S[60:]).any()


def test_starr(tmp_path):
    fetch, codes = toy_genome()
    rows = [("chr1", 100, 300, "p", 0, ".", 2.5, 1, 1), ("chr2", 50, 200, "q", 0, ".", 3.5, 1, 1)]
    pd.DataFrame(rows).to_csv(tmp_path / "peak.final.bed", sep="\t", header=False, index=False)
    read = assay_mpra.read_starr(tmp_path / "peak.final.bed")
    data = assay_mpra.starr_set({"K562": read, "HepG2": read.iloc[:1]}, fetch)
    assert data.labels_ST[0].tolist() == [2.5, 2.5]
    assert np.isnan(data.labels_ST[1, 1])
    assert data.codes[0].tolist() == codes["chr1"][100:300].tolist()
    off = assay_mpra.starr_set({"K562": read}, fetch, coordinates="reference")
    assert off.codes[0].tolist() == codes["chr1"][99:299].tolist()


def test_malinois():
    rng = np.random.default_rng(0)
    texts = ["".join(row) for row in rng.choice(list("ACGT"), (20, 200))]
    ids = [f"{c}:1:A:T" for c in ["7", "19", "1", "synthetic"] * 5]
    table = pd.DataFrame({"ID": ids, "sequence": texts, "log2FoldChange": np.arange(20.0)})
    double = table.assign(log2FoldChange=table["log2FoldChange"] + 2)
    short = pd.DataFrame({"ID": ["1:x"], "sequence": ["ACGT"], "log2FoldChange": [1.0]})
    counts = {cell: [table, double] for cell in assay_mpra.MALINOIS_CELLS}
    counts["A549"] = [table.iloc[:15], short]
    data = assay_mpra.malinois_set(counts)
    assert data.labels_ST[3].tolist() == [4, 4, 4, 4, 3]
    assert np.isnan(data.labels_ST[19, 4])
    assert data.part_S[:4].tolist() == ["test", "valid", "train", "train"]
    assert data.skipped["n"].tolist() == [1]
    small = assay_mpra.malinois_set(counts, n_subsample=10)
    assert small.spec.name == "Malinois_MPRA_subsampled_10"
    assert len(small) == 10
    assert np.isfinite(small.labels_ST).all()
    with pytest.raises(ValueError, match="only 15"):
        assay_mpra.malinois_set(counts, n_subsample=16)


def test_malinois_files_are_joined_by_id(tmp_path):
    """ENCODE's element quantifications have no sequences: a FASTA file beside them does."""
    texts = ["A" * 200, "C" * 200]
    fasta = "".join(f">{c}:1:A:T more\n{text}\n" for c, text in zip("1x", texts, strict=True))
    (tmp_path / "references.fasta").write_text(fasta)
    rows = pd.DataFrame(
        {"ID": ["1:1:A:T more", "x:1:A:T more", "x:1:A:T more", "lost"],
         "log2FoldChange": [1.5, np.inf, 2.0, 3.0], "padj": 0.1}
    )  # fmt: skip
    rows.to_csv(tmp_path / "counts.tsv.gz", sep="\t", index=False)
    cells = assay_mpra.MALINOIS_CELLS[:1]
    tables = {cell: [tmp_path / "counts.tsv.gz"] for cell in cells}
    found = assay_mpra.read_malinois(
        tables, {cell: [tmp_path / "references.fasta"] for cell in cells}
    )
    data = assay_mpra.malinois_set(found)
    assert [decode(one) for one in data.codes] == texts
    assert data.labels_ST[:, 0].tolist() == [1.5, 2.0]
    assert data.skipped.to_numpy().tolist() == [["no sequence for the element's ID", 1]]
