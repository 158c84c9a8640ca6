"""Derived files: small inputs worked out by hand, and the real files to the byte."""

import hashlib
from pathlib import Path

import pandas as pd
import pytest

from genomelm_utils.datasets import derive
from genomelm_utils.datasets.registry import NOT_REPRODUCIBLE, load_registry


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_genbank_to_fasta(tmp_path):
    text = (
        "LOCUS       X 100 bp\nDEFINITION  Some bug, complete\n            genome.\n"
        "ACCESSION   X\nVERSION     X.1 GI:5\nFEATURES    source\nORIGIN      \n"
        "        1 acgtnacgta acgtnacgta acgtnacgta acgtnacgta acgtnacgta acgtnacgta\n"
        "       61 acgtnacgta acgtnacgta t\n//\n"
    )
    fasta = derive.genbank_to_fasta({"a": write(tmp_path, "x.gbk", text)}).decode()
    head, *lines = fasta.splitlines()
    assert head == ">X.1 Some bug, complete genome."
    assert [len(line) for line in lines] == [80, 1]
    assert "".join(lines) == "ACGTNACGTA" * 8 + "T"


def test_hg19_rows_must_lie_wholly_inside(tmp_path):
    rows = ["chr22\t19999999\t20000500\tcut", "chr22\t20000000\t20000501\tkept"]
    rows += ["chr3\t43999999\t44000001\tcut", "chr9\t43000000\t43000501\tother"]
    path = write(tmp_path, "x.bed", "\n".join(rows) + "\n")
    assert derive.keep_hg19_pieces({"a": path}).decode() == rows[1] + "\n"


def test_leaf_protoplast_is_an_outer_join(tmp_path):
    header = "set\tsp\tgene\tsequence\tenrichment\n"
    leaf = write(tmp_path, "leaf", header + "test\tZm\tg2\tAC\t1.50\ntest\tAt\tg1\tGT\t2\n")
    protoplast = write(tmp_path, "proto", header + "test\tZm\tg2\tAC\t-3e-2\n")
    sources = {"leaf": leaf, "proto": protoplast}
    expected = "sp\tgene\tsequence\tleaf\tproto\nAt\tg1\tGT\t2\t\nZm\tg2\tAC\t1.50\t-3e-2\n"
    assert derive.join_leaf_protoplast(sources).decode() == expected
    fpkm = write(tmp_path, "fpkm", "# a note\nGene ID\tGene Name\troot\ng2\tx\t7.0\ng9\ty\t1\n")
    tissues = derive.join_maize_tissues({**sources, "fpkm": fpkm}).decode()
    assert tissues == "gene\tsequence\tassay_leaf\tassay_proto\troot\ng2\tAC\t1.50\t-3e-2\t7.0\n"


def test_contigs_are_the_pieces_that_the_truth_says(tmp_path, rng):
    genomes = {}
    for name in ("Aaa_bbb__G1.fna", "Ccc_sp_PCC_1__G2.fna"):
        bases = "".join(rng.choice(list("ACGT"), 30_000)) + "N" + "A" * 30_000
        genomes[name] = write(tmp_path, name, f">r1 x\n{bases}\n>short\nACGT\n")
    fasta = derive.cut_contigs(genomes).decode()
    (tmp_path / "truth.tsv").write_bytes(derive.cut_contigs_truth(genomes))
    truth = pd.read_csv(tmp_path / "truth.tsv", sep="\t")
    assert set(truth["species"]) == {"Aaa bbb", "Ccc sp. PCC 1"}
    assert truth["length"].between(derive.CONTIG_MIN_BP, derive.CONTIG_MAX_BP).all()
    pieces = {
        block.split("\n")[0]: "".join(block.split("\n")[1:]) for block in fasta.split(">")[1:]
    }
    by_accession = {"G1": "Aaa_bbb__G1.fna", "G2": "Ccc_sp_PCC_1__G2.fna"}
    for row in truth.itertuples():
        bases = genomes[by_accession[row.accession]].read_text().split("\n")[1]
        assert pieces[row.contig] == bases[row.start0 : row.end0]
        assert "N" not in pieces[row.contig]


def test_every_derived_file_has_its_function():
    for entry in load_registry().values():
        if entry.transform.startswith("derived") and entry.transform != NOT_REPRODUCIBLE:
            assert entry.transform == f"derived:{derive.DERIVED_FILES[entry.name].__name__}"


FROM_FILES_AT_HAND = [
    name
    for name, entry in load_registry().items()
    if entry.transform.startswith("derived")
    and all(source in load_registry() for source in entry.sources)
]


@pytest.mark.parametrize("name", FROM_FILES_AT_HAND)
def test_derived_again_is_the_same_to_the_byte(name, data_dir):
    entry = load_registry()[name]
    content = derive.DERIVED_FILES[name]({s: data_dir / s for s in entry.sources})
    assert hashlib.sha256(content).hexdigest() == entry.content_sha256
