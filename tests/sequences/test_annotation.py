"""Genes of GFF3 and GTF files: which lines, which ids, and what is refused."""

import gzip

import pytest

from genomelm_utils.sequences import annotation
from genomelm_utils.sequences.annotation import read_genes

ENSEMBL = """##gff-version 3
1\ttair\tchromosome\t1\t9000\t.\t.\t.\tID=chromosome:1
1\ttair\tgene\t3631\t5899\t.\t+\t.\tID=gene:AT1G01010;Name=NAC001;biotype=protein_coding
1\ttair\tmRNA\t3631\t5899\t.\t+\t.\tID=transcript:AT1G01010.1;Parent=gene:AT1G01010
1\ttair\tncRNA_gene\t6000\t6100\t.\t+\t.\tID=gene:AT1G01015
1\ttair\tpseudogene\t6200\t6300\t.\t+\t.\tID=gene:AT1G01016

2\ttair\tgene\t10\t20\t.\t-\t.\tlogic_name=x;ID=gene:AT2G00001
"""
REFSEQ = "NC_1\tRefSeq\tgene\t1\t9\t.\t+\t.\tID=gene-b1;Dbxref={};Name=x;locus_tag=b1\n"


@pytest.fixture
def write(tmp_path):
    def write_text(text: str, name: str = "x.gff3"):
        path = tmp_path / name
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
        return path

    return write_text


def rows(found) -> list[tuple]:
    return [tuple(row) for row in found.genes.itertuples(index=False)]


@pytest.mark.parametrize("name", ["x.gff3", "x.gff3.gz"])
def test_only_lines_of_type_gene_by_hand(write, name):
    found = read_genes(write(ENSEMBL, name))
    assert rows(found) == [
        ("AT1G01010", "1", 3630, 5899, "+", 3),
        ("AT2G00001", "2", 9, 20, "-", 8),
    ]
    assert found.source == "ensembl"
    assert found.why == "2 of 2 genes have an id as ensembl files do"


@pytest.mark.parametrize(
    ("attributes", "source", "gene_id"),
    [
        ("ID=gene:Zm1;Name=x", "ensembl", "Zm1"),
        ("ID=Zm00001eb000010;biotype=protein_coding", "nam", "Zm00001eb000010"),
        ("ID=gene-b1;Dbxref=ASAP:A1,GeneID:944742", "refseq", "944742"),
        ("ID=gene-b1;Dbxref=GeneID:7,Genbank:NM_1", "refseq", "7"),
        ("ID=FBgn1;Dbxref=EntrezGene:33155", "nam", "FBgn1"),
        ("ID=a%2Cb%3Bc", "nam", "a,b;c"),
        ('gene_id "YDL248W"; gene_source "sgd";', "gtf", "YDL248W"),
        ("gene_name x; gene_id Y1;", "gtf", "Y1"),
    ],
)
def test_the_source_is_told_by_the_attributes(write, attributes, source, gene_id):
    found = read_genes(write(f"c\ts\tgene\t1\t9\t.\t+\t.\t{attributes}\r\n"))
    assert (found.source, found.genes["gene_id"].tolist()) == (source, [gene_id])
    assert read_genes(found.path, source=source).genes.equals(found.genes)


def test_maizegdb_has_the_ids_of_ensembl(write):
    path = write(ENSEMBL)
    assert read_genes(path, source="maizegdb").genes.equals(read_genes(path).genes)


@pytest.mark.parametrize(
    ("source", "attributes", "reference", "corrected"),
    [
        ("ensembl", "ID=gene:X;Name=y", "X", "X"),
        ("maizegdb", "ID=gene:X", "X", "X"),
        ("nam", "ID=X;Name=y", "X", "X"),
        ("refseq", "ID=gene-1;Dbxref=GeneID:7;Name=x", "7", "7"),
        ("refseq", "ID=gene-1;Dbxref=GeneID:7,Genbank:NM_1;Name=x", "7,Genbank", "7"),
        ("refseq", "ID=gene-1;Dbxref=ASAP:A1,GeneID:7", "A1,GeneID", "7"),
        ("ensembl", "Name=y:z;ID=gene:X", "z", "X"),
        ("nam", "Name=y;ID=X", "y", "X"),
    ],
)
def test_reference_and_corrected_id_rule(write, source, attributes, reference, corrected):
    path = write(f"c\ts\tgene\t1\t9\t.\t+\t.\t{attributes}\n")
    for rule, expected in (("reference", reference), ("corrected", corrected)):
        found = read_genes(path, source=source, id_rule=rule)
        assert found.genes["gene_id"].tolist() == [expected]


def test_a_gene_without_id_stays_in_the_table(write):
    text = REFSEQ.format("GeneID:7") + REFSEQ.format("ASAP:A1") + REFSEQ.format("GeneID:8")
    assert read_genes(write(text)).genes["gene_id"].tolist() == ["7", "", "8"]


@pytest.mark.parametrize("n_bytes", [1, 7, 64, 300, 1 << 20])
def test_blocks_do_not_show(write, monkeypatch, n_bytes):
    expected = rows(read_genes(write(ENSEMBL)))
    monkeypatch.setattr(annotation, "_BLOCK_BYTES", n_bytes)
    text = ENSEMBL.rstrip("\n")  # the last line without a line feed
    assert rows(read_genes(write(text))) == expected
    for tail in ("##FASTA\n>1\nACGT\n", ">1\nACGT\n1\ts\tgene\t1\t2\t.\t+\t.\tID=gene:no\n"):
        assert rows(read_genes(write(ENSEMBL + tail))) == expected


GENE = "c\ts\tgene\t{}\t{}\t.\t+\t.\tID=gene:x\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no line has the type `gene`.*found no annotation lines at all"),
        (">s\nACGT\n", "no annotation lines at all"),
        ("c\ts\tncRNA_gene\t1\t2\t.\t+\t.\tID=x\n", r"type `gene`.*found ncRNA_gene \(1\)"),
        ("c\ts\tgene\t1\t2\n", "line 1: expected 9 columns .* found 5"),
        ("#\nc s gene 1 2 . + . ID=x\n", "line 2: expected 9 columns .* found 1"),
        (GENE.format(1, 9) + GENE.format("x", 2), "line 2: the gene's start is 'x' and its end"),
        (GENE.format(0, 2), "line 1: .*start is '0'.*expected whole numbers with 1 <= start"),
        (GENE.format(5, 2), "line 1: .*start is '5' and its end '2'"),
        (GENE.format("1.5", 2), "line 1: .*start is '1.5'"),
        ("c\ts\tgene\t1\t2\t.\t+\t.\tName=x\n", "no rule finds an id.*'Name=x'"),
    ],
)
def test_bad_input_says_what_and_where(write, text, says):
    with pytest.raises(ValueError, match=rf"(?s)x\.gff3.*{says}"):
        read_genes(write(text))


def test_bad_choices_and_files(write, tmp_path):
    path = write(ENSEMBL)
    with pytest.raises(ValueError, match="source is 'ncbi', expected one of auto, gtf"):
        read_genes(path, source="ncbi")
    with pytest.raises(ValueError, match="id_rule is 'x', expected corrected or reference"):
        read_genes(path, id_rule="x")
    for source in ("auto", "gtf"):
        with pytest.raises(ValueError, match=f"got '{source}'; expected one of ensembl"):
            read_genes(path, source=source, id_rule="reference")
    with pytest.raises(ValueError, match="no gene has an id where refseq files have it"):
        read_genes(path, source="refseq")
    with pytest.raises(FileNotFoundError, match="no such file, expected GFF3 or GTF"):
        read_genes(tmp_path / "none.gff3")
    cut = tmp_path / "cut.gff3.gz"
    cut.write_bytes(gzip.compress(ENSEMBL.encode())[:-9])
    with pytest.raises(ValueError, match=r"cut\.gff3\.gz: truncated or damaged gzip"):
        read_genes(cut)


@pytest.mark.parametrize(
    ("name", "source", "n_genes"),
    [
        ("yeast/Saccharomyces_cerevisiae.R64-1-1.96.gtf.gz", "gtf", 7036),
        ("bacteria/Escherichia_coli_K12_MG1655__GCF_000005845.2.gff3.gz", "refseq", 4494),
        ("arabidopsis/Arabidopsis_thaliana.1pct.gff3.gz", "nam", 362),
    ],
)
def test_real_files(data_dir, name, source, n_genes):
    path = data_dir / "genomes" / name
    found = read_genes(path)
    assert (found.source, len(found), found.genes["gene_id"].nunique()) == (source, *[n_genes] * 2)
    with gzip.open(path, "rt") as file:  # line by line
        lines = [line.split("\t") for line in file if not line.startswith("#")]
    expected = [(w[0], int(w[3]) - 1, int(w[4]), w[6]) for w in lines if w[2] == "gene"]
    assert (
        list(zip(*[found.genes[c] for c in ("contig", "start", "end", "strand")], strict=True))
        == expected
    )
