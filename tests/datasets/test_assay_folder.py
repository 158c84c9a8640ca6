"""One folder of raw files, as published, gives every task that it is read for."""

import gzip
import shutil

import numpy as np
import pandas as pd
import pytest

from genomelm_utils.datasets import assay_chipseq, assay_folder, assay_mpra, assay_sure
from genomelm_utils.datasets.promoter_assays import ASSAYS
from genomelm_utils.sequences.alphabet import decode
from tests.datasets.activity_toys import toy_genome, write_fluorescence, write_lenti

CHROMOSOMES = ("1", "2", "4", "7")


def write_genome(path) -> None:
    _, codes = toy_genome(chromosomes=CHROMOSOMES)
    path.write_text("".join(f">{name}\n{decode(one)}\n" for name, one in codes.items()))


def write_rnaseq(folder) -> None:
    folder.mkdir()
    genes = [f"ENSG{i}" for i in range(6)]
    names = [f"gene{i}" for i in range(6)]
    tss = {
        "Gene stable ID": genes, "Gene name": names,
        "Transcription start site (TSS)": range(1000, 1600, 100), "Strand": [1, -1] * 3,
        "Chromosome/scaffold name": ["1", "1", "2", "2", "4", "4"],
    }  # fmt: skip
    pd.DataFrame(tss).to_csv(folder / "tss.tsv", sep="\t", index=False)
    values = np.random.default_rng(0).uniform(2, 40, (6, 3))
    roadmap = pd.DataFrame(values, columns=["E000", "E003", "E123"])
    roadmap.insert(0, "gene_id", genes)
    roadmap.to_csv(folder / "Roadmap.tsv", sep="\t", index=False)
    lines = pd.DataFrame(values, columns=["K-562", "JURKAT", "THP-1"])
    lines.insert(0, "transcript_id(s)", "NM_1,NM_2")  # as nf-core's RSEM tables have it
    lines.insert(0, "gene_id", names)
    lines.to_csv(folder / "LL100.tsv", sep="\t", index=False)
    columns = [f"{name} ({i})" for i, name in enumerate(names)]
    ids = ["ACH-1", "ACH-2", "ACH-3"]
    pd.DataFrame(np.log2(values.T + 1), ids, columns).to_csv(folder / "CCLE.csv")
    lines = {"ModelID": ids, "StrippedCellLineName": ["K562", "JURKAT", "THP1"]}
    pd.DataFrame(lines).to_csv(folder / "CCLE_lines.csv", index=False)


def write_chipseq(folder) -> None:
    folder.mkdir()
    columns = ["File accession", "Experiment accession", "Biosample term name",
               "Experiment target", "File assembly", "File analysis title"]  # fmt: skip
    rows = [("F1", "X1", "K562", "CTCF-human", "GRCh38", "ENCODE4 v1.6.1 GRCh38")]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "metadata.tsv", sep="\t", index=False)
    peaks = [(f"chr{c}", 400 * i, 400 * i + 200, ".", 0, ".", 9, 9, 3.0, 100)
             for c in CHROMOSOMES for i in range(1, 6)]  # fmt: skip
    pd.DataFrame(peaks).to_csv(folder / "F1.bed.gz", sep="\t", header=False, index=False)


def write_mpra(raw, rng) -> None:
    for name in ("sharpr", "sure", "starrseq"):
        (raw / name).mkdir()
    h5py = pytest.importorskip("h5py")
    for part in ("train", "valid", "test"):
        with h5py.File(raw / "sharpr" / f"{part}.hdf5", "w") as file:
            file["X/sequence"] = np.eye(4)[rng.integers(0, 4, (4, 145))]
            file["Y/output"] = rng.random((4, 12))
    for genome in assay_sure.GENOMES:
        start = rng.integers(1, 2700, 40)
        table = pd.DataFrame({"chr": "chr1", "start": start, "end": start + 150, "strand": "+"})
        table["SNP_ABS_POS"], table["SNP_SEQ"] = "", ""
        table[f"{genome}_1"], table[f"{genome}_HEPG2_1"] = rng.integers(0, 40, (2, 40))
        table.to_csv(raw / "sure" / f"{genome}.tsv.gz", sep="\t", index=False)
    for cell in assay_mpra.STARR_CELLS:
        rows = [(f"chr{c}", 100, 300, "p", 0, ".", 2.5, 1, 1, 1, 1) for c in CHROMOSOMES]
        path = raw / "starrseq" / f"{cell}.bed.gz"
        pd.DataFrame(rows).to_csv(path, sep="\t", header=False, index=False)
    ids = [f"{c}:1:{i}" for c in ("7", "19", "1") for i in range(3)]
    texts = ["".join(row) for row in rng.choice(list("ACGT"), (9, 200))]
    fasta = "".join(f">{one}\n{text}\n" for one, text in zip(ids, texts, strict=True))
    for cell in assay_mpra.MALINOIS_CELLS:
        (raw / "malinois" / cell).mkdir(parents=True)
        with gzip.open(raw / "malinois" / cell / "ENCFF1.fasta.gz", "wt") as file:
            file.write(fasta)
        counts = pd.DataFrame({"ID": ids, "log2FoldChange": rng.normal(size=9)})
        counts.to_csv(raw / "malinois" / cell / "ENCFF2.tsv", sep="\t", index=False)


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """A folder as the module's text describes it."""
    pytest.importorskip("openpyxl")
    folder, rng = tmp_path_factory.mktemp("raw"), np.random.default_rng(0)
    (folder / "fluorescence").mkdir()
    write_fluorescence(folder / "fluorescence")
    published = {
        "counts.csv": "Raw_Promoter_Counts.csv",
        "designs.tsv": "final_list_of_all_promoter_sequences_fixed.tsv",
    }
    for was, name in published.items():
        shutil.move(folder / "fluorescence" / was, folder / "fluorescence" / name)
    for genome in ("hg38", "hg19"):
        write_genome(folder / f"{genome}.fa")
    write_rnaseq(folder / "rnaseq")
    write_chipseq(folder / "chipseq")
    write_mpra(folder, rng)
    write_lenti(folder / "lentimpra", rng)
    return folder


def test_every_published_task_is_read(raw, tmp_path, monkeypatch):
    monkeypatch.setattr(assay_chipseq, "MIN_PEAKS", 1)
    monkeypatch.setattr(assay_chipseq.chipseq_set, "__kwdefaults__",
                        assay_chipseq.chipseq_set.__kwdefaults__ | {"min_peaks": 1})  # fmt: skip
    names = [name for name in ASSAYS if "subsampled" not in name]
    sets = assay_folder.read_assays(names, raw, tmp_path / "genomes")
    expected = {name for name in names if not name.startswith("SuRE")}
    expected |= {f"SuRE_{genome}" for genome in assay_sure.GENOMES}
    assert set(sets) == expected
    for name, data in sets.items():
        assert data.spec.name == name or name.startswith("Fluorescence"), name
        assert len(data) and (data.part_S != "").any(), name
    assert sets["LL100"].spec.outputs == ("K-562", "JURKAT", "THP-1")
    for name in ("CCLE", "Roadmap"):  # the same numbers in three tables
        columns = [0, 1, 2] if name == "CCLE" else [1, 2]
        np.testing.assert_allclose(
            sets[name].labels_ST, sets["LL100"].labels_ST[:, columns], atol=1e-5
        )
    assert sets["Roadmap"].spec.outputs == ("E003", "E123")
    assert sets["Malinois_MPRA"].counts()["n_rows"].tolist() == [3, 3, 3]


def test_a_missing_file_is_named(raw, tmp_path):
    for name, told in (
        ("STARRSeq", r"no K562\.bed\*, expected peaks of STARRpeaker"),
        ("Malinois_MPRA", r"no \*\.tsv\*, expected element quantifications"),
        ("lentiMPRA", "expected lentiMPRA's workbook with the sheet 'K562 large-scale'"),
        ("SuRE_regression", "hg19.fa .or .fa.gz.: no such file, expected the genome"),
    ):
        with pytest.raises(FileNotFoundError, match=told):
            assay_folder.read_assays([name], tmp_path, tmp_path / "genomes")
    small = assay_folder.read_assays(["Malinois_MPRA"], raw, tmp_path)["Malinois_MPRA"]
    assert small.spec.masked and len(small) == 9
    with pytest.raises(ValueError, match="15000 rows are asked for, but only 9 are measured"):
        assay_folder.read_assays(["Malinois_MPRA_subsampled_15000"], raw, tmp_path)
