"""Promoters of genes: hand-made cases, a base-by-base oracle, and equality with bedtools."""

import gzip
import logging
import shutil
import subprocess
import warnings

import numpy as np
import pandas as pd
import pytest

from genomelm_utils.sequences import promoters
from genomelm_utils.sequences.alphabet import decode, reverse_complement
from genomelm_utils.sequences.annotation import read_genes
from genomelm_utils.sequences.fasta import read_fasta
from genomelm_utils.sequences.genome import build_store
from genomelm_utils.sequences.promoters import extract_promoters, read_promoters, write_promoters

REAL = {
    "yeast": (
        "yeast/Saccharomyces_cerevisiae.R64-1-1.dna.toplevel.fa.gz",
        "yeast/Saccharomyces_cerevisiae.R64-1-1.96.gtf.gz",
    ),
    "ecoli": (
        "bacteria/Escherichia_coli_K12_MG1655__GCF_000005845.2.fna.gz",
        "bacteria/Escherichia_coli_K12_MG1655__GCF_000005845.2.gff3.gz",
    ),
    "human": ("human/GRCh38_chr9_1_1000000.fa.gz", "human/GRCh38.91_chr9_1_1000000.gtf.gz"),
}


@pytest.fixture
def make(tmp_path):
    """A FASTA file of {name: text} and a GFF3 file of (id, contig, start, end, strand), 1-based."""

    def make_files(texts: dict[str, str], genes: list[tuple]):
        fasta, gff = tmp_path / "genome.fa", tmp_path / "genes.gff3"
        fasta.write_text("".join(f">{name} x\n{text}\n" for name, text in texts.items()))
        lines = [f"{c}\ts\tgene\t{s}\t{e}\t.\t{d}\t.\tID={i}\n" for i, c, s, e, d in genes]
        gff.write_text("".join(lines))
        return fasta, gff

    return make_files


def random_text(rng: np.random.Generator, n: int) -> str:
    return "".join(rng.choice(list("ACGT"), n))


A_PLUS, A_MINUS = ("A", "chr1", 3000, 4000, "+"), ("A", "chr1", 3000, 4000, "-")


@pytest.mark.parametrize(
    ("genes", "first", "last", "gap", "name"),
    [
        ([A_PLUS], 2000, 2999, 0, "A::chr1:1999-2999(+)"),
        ([A_PLUS, ("B", "chr1", 2400, 2500, "-")], 2501, 2999, 0, "A::chr1:2500-2999(+)"),
        ([A_MINUS], 4001, 5000, 0, "A::chr1:4000-5000(-)"),
        ([A_MINUS, ("B", "chr1", 4300, 4400, "+")], 4001, 4299, 0, "A::chr1:4000-4299(-)"),
        ([("A", "chr1", 500, 900, "+")], 1, 499, 0, "A::chr1:0-499(+)"),
        ([("A", "chr1", 500, 5600, "-")], 5601, 6000, 0, "A::chr1:5600-6000(-)"),
        ([A_PLUS, ("B", "chr1", 2900, 3100, "-")], 2000, 2899, 100, "A::chr1:1999-2899(+)"),
        ([A_MINUS, ("B", "chr1", 3900, 4100, "-")], 4101, 5000, 100, "A::chr1:4100-5000(-)"),
        # touching neighbours are one; the nearest of three pieces is kept
        (
            [A_PLUS, ("B", "chr1", 2900, 3100, "-"), ("C", "chr1", 2800, 2899, "+")],
            *(2000, 2799, 200, "A::chr1:1999-2799(+)"),
        ),
        (
            [A_PLUS, ("B", "chr1", 2900, 2950, "-"), ("C", "chr1", 2700, 2800, "+")],
            *(2951, 2999, 0, "A::chr1:2950-2999(+)"),
        ),
    ],
)
def test_golden_flanks(make, rng, genes, first, last, gap, name):
    text = random_text(rng, 6000)
    found = extract_promoters(*make({"chr1": text}, genes), fragment_rule="reference").table
    row = found[found["gene_id"] == "A"].iloc[0]
    assert (row["start"] + 1, row["end"], row["gap_bp"], row["name"]) == (first, last, gap, name)
    codes = promoters.read_fasta(make({"x": text[first - 1 : last]}, genes)[0]).codes
    codes = reverse_complement(codes) if row["strand"] == "-" else codes
    assert row["sequence"] == decode(codes)


def test_a_covered_flank_drops_the_gene(make, rng):
    files = make({"chr1": random_text(rng, 6000)}, [A_PLUS, ("B", "chr1", 1900, 3100, "+")])
    found = extract_promoters(*files)
    assert found.table["gene_id"].tolist() == ["B"]
    assert found.skipped["gene_id"].tolist() == ["A"]
    assert found.skipped["reason"].tolist() == [promoters.COVERED]
    assert found.skipped["gap_bp"].isna().all()


def test_the_tss_is_at_the_right_end(make):
    #                     1234567890123456
    files = make({"c": "AACCGGTTACCTTTGC"}, [("p", "c", 5, 8, "+"), ("m", "c", 7, 8, "-")])
    table = extract_promoters(*files, flank_bp=4).table
    assert table["sequence"].tolist() == ["AACC", "AGGT"]
    # ACCT follows the gene on the minus strand: the base next to it is A, its complement comes last
    assert table["name"].tolist() == ["p::c:0-4(+)", "m::c:8-12(-)"]


@pytest.mark.parametrize(("rule", "kept"), [("corrected", ["B"]), ("reference", ["A", "B"])])
def test_fragment_rule(make, rng, rule, kept):
    files = make({"chr1": random_text(rng, 6000)}, [A_PLUS, ("B", "chr1", 2900, 3100, "+")])
    found = extract_promoters(*files, fragment_rule=rule)
    assert found.table["gene_id"].tolist() == kept
    if rule == "corrected":
        assert (found.table["gap_bp"] == 0).all()
        assert found.skipped[["gene_id", "gap_bp", "reason"]].values.tolist() == [
            ["A", 100, promoters.NOT_TOUCHING]
        ]
    else:
        assert found.table["gap_bp"].tolist() == [100, 0]
        assert not len(found.skipped)
    assert found.n_genes == 2
    assert found.count()["genes"].sum() == 2


@pytest.mark.parametrize(
    ("case", "plus", "minus"),
    [("corrected", "NACG", "CAGG"), ("reference", "nAcg", "cAgg")],
)
def test_case(make, case, plus, minus):
    genes = [("p", "c", 6, 8, "+"), ("m", "c", 6, 8, "-")]
    table = extract_promoters(*make({"c": "tnAcgTTTccTgA"}, genes), flank_bp=4, case=case).table
    assert table["sequence"].tolist() == [plus, minus]


def naive_promoter(text: str, covered: np.ndarray, gene: tuple, flank_bp: int):
    """Start, end, gap, sequence of the nearest uncovered piece, walking base by base; or None."""
    _, _, first, last, strand = gene
    step = -1 if strand == "+" else 1
    walk = first - 2 if strand == "+" else last
    bases, gap = [], 0
    for _ in range(flank_bp):
        if not 0 <= walk < len(text):
            break
        if covered[walk]:
            if bases:
                break
            gap += 1
        else:
            bases.append(walk)
        walk += step
    if not bases:
        return None
    pair = dict(zip("ACGT", "TGCA", strict=True))
    letters = [text[i] if strand == "+" else pair[text[i]] for i in bases]
    return min(bases), max(bases) + 1, gap, "".join(letters[::-1])


def draw_layouts(rng: np.random.Generator, n: int) -> tuple[dict[str, str], list[tuple]]:
    """n contigs with up to a dozen genes each, crowded enough to overlap, nest and touch."""
    texts = {f"c{i}": random_text(rng, int(rng.integers(5, 90))) for i in range(n)}
    genes = []
    for contig, text in texts.items():
        for _ in range(rng.integers(0, 13)):
            start = int(rng.integers(1, len(text) + 1))
            end = min(len(text), start + int(rng.geometric(0.1)) - 1)
            genes.append((f"g{len(genes)}", contig, start, end, str(rng.choice(["+", "-"]))))
    return texts, [genes[i] for i in rng.permutation(len(genes))]


@pytest.mark.parametrize("flank_bp", [1, 3, 10, 35, 200])
def test_random_layouts_equal_a_base_by_base_oracle(make, rng, flank_bp):
    texts, genes = draw_layouts(rng, 80)
    covered = {name: np.zeros(len(text), bool) for name, text in texts.items()}
    for _, contig, start, end, _ in genes:
        covered[contig][start - 1 : end] = True
    expected = {}
    for gene in genes:
        found = naive_promoter(texts[gene[1]], covered[gene[1]], gene, flank_bp)
        if found:
            expected[gene[0]] = (gene[1], *found)
    result = extract_promoters(*make(texts, genes), flank_bp=flank_bp, fragment_rule="reference")
    columns = ["gene_id", "contig", "start", "end", "gap_bp", "sequence"]
    got = {row[0]: tuple(row[1:]) for row in result.table[columns].itertuples(index=False)}
    assert got == expected
    assert list(got) == [gene[0] for gene in genes if gene[0] in expected]  # the file's order
    assert set(result.skipped["gene_id"]) == {gene[0] for gene in genes} - set(expected)
    n_gaps = sum(row[3] > 0 for row in got.values())
    assert min(len(got), len(result.skipped)) > 50  # the layouts hold every kind of case
    assert n_gaps > (50 if flank_bp > 3 else -1)


def test_genes_without_a_promoter_are_named_and_still_subtracted(make, rng, caplog):
    genes = [
        ("good", "c1", 50, 60, "+"),
        ("elsewhere", "c9", 1, 5, "+"),
        ("past", "c1", 90, 130, "-"),
        ("unstranded", "c1", 41, 42, "."),
        ("good", "c1", 80, 82, "+"),
        ("at_start", "c1", 1, 4, "+"),
        ("at_end", "c2", 15, 20, "-"),
        ("buried", "c1", 55, 58, "+"),
        ("over", "c1", 52, 56, "-"),
        ("next", "c2", 10, 12, "+"),  # "past" does not reach into the next contig
    ]
    files = make({"c1": random_text(rng, 100), "c2": random_text(rng, 20)}, genes)
    with caplog.at_level(logging.WARNING):
        found = extract_promoters(*files, flank_bp=3)
    assert found.table["name"].tolist() == ["good::c1:46-49(+)", "next::c2:6-9(+)"]
    assert found.skipped.drop(columns=["start", "end", "line"]).fillna(-1).values.tolist() == [
        ["elsewhere", "c9", "+", -1, promoters.NO_RECORD],
        ["past", "c1", "-", -1, promoters.OUTSIDE],
        ["unstranded", "c1", ".", 0, promoters.NO_STRAND],
        ["good", "c1", "+", 0, promoters.REPEATED_ID],
        ["at_start", "c1", "+", -1, promoters.NO_UPSTREAM],
        ["at_end", "c2", "-", -1, promoters.NO_UPSTREAM],
        ["buried", "c1", "+", -1, promoters.COVERED],
        ["over", "c1", "-", -1, promoters.COVERED],
    ]
    assert found.skipped["line"].tolist() == [2, 3, 4, 5, 6, 7, 8, 9]
    assert "left out 1 genes: coordinates outside the contig: past" in caplog.text
    found = extract_promoters(*files, flank_bp=20)
    row = found.table.set_index("gene_id").loc["good"]  # minus the one without a strand
    assert (row["start"], row["end"]) == (42, 49)


def test_a_gene_without_id_is_named_by_its_line(make, caplog):
    fasta, gff = make({"c": "ACGTACGTACGT"}, [("a", "c", 5, 6, "+"), ("b", "c", 8, 9, "+")])
    gff.write_text(gff.read_text().replace("ID=b", "Name=b"))
    with caplog.at_level(logging.WARNING):
        found = extract_promoters(fasta, gff)
    assert found.skipped["reason"].tolist() == [promoters.NO_ID]
    assert "left out 1 genes: no gene id: line 2" in caplog.text


def test_files_that_do_not_belong_together(make):
    fasta, gff = make({"chr1": "ACGT", "chr2": "ACGT"}, [("a", "Chr1", 2, 3, "+")])
    with pytest.raises(ValueError, match=r"genes\.gff3: none of its 1 contigs \('Chr1', \.\.\.\)"):
        extract_promoters(fasta, gff)
    with pytest.raises(ValueError, match=r"did you mean 'chr1'.*of one assembly"):
        extract_promoters(fasta, gff)
    fasta, gff = make({"chr1": "ACGT"}, [("a", "chr1", 2, 30, "+"), ("b", "chr2", 1, 2, "-")])
    with pytest.raises(ValueError, match="1 coordinates outside the contig; 1 its contig is no"):
        extract_promoters(fasta, gff)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"flank_bp": 0}, "flank_bp is 0, expected at least 1"),
        ({"fragment_rule": "nearest"}, "fragment_rule is 'nearest', expected corrected or"),
        ({"case": "upper"}, "case is 'upper', expected corrected or reference"),
        ({"source": "x"}, "source is 'x'"),
    ],
)
def test_bad_options(make, options, says):
    with pytest.raises(ValueError, match=says):
        extract_promoters(*make({"c": "ACGT"}, [("a", "c", 2, 3, "+")]), **options)


def test_a_genome_in_memory_or_in_a_store_gives_the_same(make, rng, tmp_path):
    texts = {"c1": random_text(rng, 300), "c2": random_text(rng, 200).lower()}
    genes = [("a", "c1", 100, 120, "-"), ("b", "c2", 50, 70, "+"), ("d", "c1", 180, 190, "+")]
    fasta, gff = make(texts, genes)
    expected = extract_promoters(fasta, gff, case="reference").table
    found = read_genes(gff)
    for genome in (read_fasta(fasta), build_store(fasta, tmp_path / "store")):
        assert extract_promoters(genome, found, case="reference").table.equals(expected)
    assert expected["sequence"].str.islower().tolist() == [False, True, False]


@pytest.mark.parametrize("name", ["out/p.fa", "out/p.fa.gz"])
def test_written_promoters_are_read_again(make, rng, tmp_path, name):
    genes = [("a::x:1", "c:1", 100, 120, "-"), ("b", "c:1", 200, 260, "+")]
    table = extract_promoters(*make({"c:1": random_text(rng, 300)}, genes), flank_bp=90).table
    path = tmp_path / name
    write_promoters(path, table)
    first = path.read_bytes()
    again = read_promoters(path)
    assert again.drop(columns="gap_bp").equals(table.drop(columns="gap_bp"))
    assert again["gap_bp"].isna().all()
    write_promoters(path, table)
    assert path.read_bytes() == first
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_other_fasta_files_are_no_promoters(tmp_path):
    path = tmp_path / "x.fa"
    path.write_text(">a::c:0-4(+)\nACGT\n>chr1\nACGT\n")
    with pytest.raises(ValueError, match=r"1 of 2 names are not ID::.*the first is 'chr1'"):
        read_promoters(path)
    path.write_text(">a::c:0-4(+)\nACG\n")
    with pytest.raises(ValueError, match="holds 3 bases, not as many as its name says"):
        read_promoters(path)


def test_merged_intervals_neither_touch_nor_overlap():
    start, end = np.array([5, 1, 8, 20, 2]), np.array([8, 3, 9, 30, 3])
    assert promoters.merge_intervals(start, end).tolist() == [[1, 3], [5, 9], [20, 30]]
    assert promoters.merge_intervals(start[:0], end[:0]).shape == (0, 2)


def run_bedtools(folder, fasta, gff) -> pd.DataFrame:
    """name, sequence of every gene's promoter as the released steps make them."""
    genome, genes = folder / "genome.fa", folder / "genes.gff"
    genome.write_bytes(gzip.decompress(fasta.read_bytes()))
    ids = read_genes(gff).genes["gene_id"].tolist()
    with gzip.open(gff, "rt") as file:
        lines = [line.split("\t") for line in file if line[:1] != "#"]
    lines = [parts for parts in lines if parts[2] == "gene"]
    assert len(lines) == len(ids)
    for parts, gene_id in zip(lines, ids, strict=True):
        parts[2] = gene_id  # getfasta takes names from there
    genes.write_text("".join("\t".join(parts) for parts in lines))
    records = read_fasta(genome)
    lengths = zip(records.names, np.diff(records.starts).tolist(), strict=True)
    sizes = "".join(f"{name}\t{length}\n" for name, length in lengths)
    (folder / "sizes").write_text(sizes)

    def bedtools(*words: str, text: str | None = None) -> str:
        command = ["bedtools", *words]
        done = subprocess.run(
            command, input=text, cwd=folder, capture_output=True, text=True, check=True
        )
        return done.stdout

    flanks = bedtools(*("flank", "-i", "genes.gff", "-g", "sizes", "-l", "1000", "-r", "0", "-s"))
    pieces = bedtools("subtract", "-a", "stdin", "-b", "genes.gff", text=flanks)
    kept: dict[str, str] = {}
    for line in pieces.splitlines(keepends=True):
        parts = line.split("\t")
        if parts[6] == "+" or parts[2] not in kept:
            kept[parts[2]] = line
    (folder / "kept.gff").write_text("".join(kept.values()))
    out = bedtools("getfasta", "-fi", "genome.fa", "-bed", "kept.gff", "-s", "-name+")
    words = out.split("\n")
    return pd.DataFrame({"name": [w[1:] for w in words[:-1:2]], "sequence": words[1::2]})


@pytest.mark.parametrize("genome", REAL)
def test_equals_bedtools_on_real_files(data_dir, tmp_path, genome):
    if shutil.which("bedtools") is None:
        warnings.warn("bedtools is not installed: promoters are not compared", stacklevel=1)
        pytest.skip("needs bedtools: apt-get install bedtools")
    fasta, gff = (data_dir / "genomes" / name for name in REAL[genome])
    expected = run_bedtools(tmp_path, fasta, gff).sort_values("name", ignore_index=True)
    found = extract_promoters(fasta, gff, fragment_rule="reference", case="reference")
    table = found.table[["name", "sequence"]].sort_values("name", ignore_index=True)
    assert len(expected) > (5 if genome == "human" else 4000)
    pd.testing.assert_frame_equal(table, expected, check_dtype=False)
    upper = extract_promoters(fasta, gff, fragment_rule="reference").table
    assert (upper["sequence"] == found.table["sequence"].str.upper()).all()
    touching = extract_promoters(fasta, gff).table
    assert touching.equals(upper[upper["gap_bp"] == 0].reset_index(drop=True))
