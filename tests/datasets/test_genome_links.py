"""Link tables: addresses by the databases' patterns, lists read, files written and read again."""

import logging

import pandas as pd
import pytest

from genomelm_utils.datasets import genome_links
from genomelm_utils.datasets.genome_links import read_links, write_links


def test_nam_lines_by_hand():
    table = genome_links.nam_lines()
    assert len(table) == table["line"].nunique() == table["gene_prefix"].nunique() == 26
    rows = table.set_index("line")
    assert rows.loc["B73"].tolist() == ["Zm-B73-REFERENCE-NAM-5.0", "Zm00001eb.1", "Zm00001eb"]
    assert rows.loc["B97"].tolist() == ["Zm-B97-REFERENCE-NAM-1.0", "Zm00018ab.1", "Zm00018ab"]
    # Golden: number of the annotation per line
    for line, number in {"CML52": 19, "CML333": 26, "HP301": 27, "Il14H": 28, "Ky21": 31}.items():
        assert rows.loc[line, "annotation"] == f"Zm000{number}ab.1"
    for line, number in {"Mo18W": 34, "NC358": 37, "Oh7B": 38, "Oh43": 39, "Tzi8": 42}.items():
        assert rows.loc[line, "annotation"] == f"Zm000{number}ab.1"
    assert (table["gene_prefix"].str.len() == 9).all()


def test_maizegdb_links_by_hand():
    assert len(genome_links.maizegdb_links()) == 26
    host = "https://download.maizegdb.org"
    assert genome_links.maizegdb_links(["B73", "Il14H"]).values.tolist() == [
        [
            "Zmb73",
            f"{host}/Zm-B73-REFERENCE-NAM-5.0/Zm-B73-REFERENCE-NAM-5.0.fa.gz",
            f"{host}/Zm-B73-REFERENCE-NAM-5.0/Zm-B73-REFERENCE-NAM-5.0_Zm00001eb.1.gff3.gz",
        ],
        [
            "Zmil14h",
            f"{host}/Zm-Il14H-REFERENCE-NAM-1.0/Zm-Il14H-REFERENCE-NAM-1.0.fa.gz",
            f"{host}/Zm-Il14H-REFERENCE-NAM-1.0/Zm-Il14H-REFERENCE-NAM-1.0_Zm00028ab.1.gff3.gz",
        ],
    ]
    with pytest.raises(ValueError, match="W22: no NAM line, expected some of B73, B97"):
        genome_links.maizegdb_links(["B73", "W22"])


@pytest.mark.parametrize("release", [57, 60])
def test_ensembl_links_by_hand(tmp_path, release):
    path = tmp_path / "species.txt"
    path.write_text(
        "#name\tspecies\tdivision\ttaxonomy_id\tassembly\tassembly_accession\n"
        "Thale cress\tarabidopsis_thaliana\tEnsemblPlants\t3702\tTAIR10\tGCA_000001735.1\t\n"
        "Rice\toryza_longistaminata\tEnsemblPlants\t4528\tO_longistaminata v1.0\tGCA_1\t\n"
    )
    links = genome_links.ensembl_links(genome_links.read_ensembl_species(path), release)
    root = f"https://ftp.ensemblgenomes.ebi.ac.uk/pub/plants/release-{release}"
    assert links.iloc[0].tolist() == [
        "arabidopsis_thaliana",
        f"{root}/fasta/arabidopsis_thaliana/dna/Arabidopsis_thaliana.TAIR10.dna.toplevel.fa.gz",
        f"{root}/gff3/arabidopsis_thaliana/Arabidopsis_thaliana.TAIR10.{release}.gff3.gz",
        "arabidopsis_thaliana",
    ]
    assert links["gene_link"][1].endswith(
        "/Oryza_longistaminata.O_longistaminata_v1.0.dna.toplevel.fa.gz"
    )
    assert genome_links.ensembl_species_address(release) == f"{root}/species_EnsemblPlants.txt"


def test_bad_ensembl_lists(tmp_path):
    path = tmp_path / "species.txt"
    for text in ("", "<html>\n"):
        path.write_text(text)
        with pytest.raises(ValueError, match="expected Ensembl's tab-separated list of species"):
            genome_links.read_ensembl_species(path)
    path.write_text("#name\tspecies\tassembly\nx\ty\n")
    with pytest.raises(ValueError, match="line 2: expected more than 2 fields"):
        genome_links.read_ensembl_species(path)
    with pytest.raises(ValueError, match="missing assembly, found species"):
        genome_links.ensembl_links(pd.DataFrame({"species": ["x"]}))
    genomes = pd.DataFrame({"species": ["x"], "assembly": ["y"]})
    with pytest.raises(ValueError, match="release is 0"):
        genome_links.ensembl_links(genomes, 0)


def test_refseq_links_by_hand(tmp_path, caplog):
    accession = "GCF_902167145.1_Zm-B73-REFERENCE-NAM-5.0"
    table = pd.DataFrame({"species": ["Zea_mays"], "accession": [accession]})
    folder = "https://ftp.ncbi.nlm.nih.gov/genomes/refseq/plant/Zea_mays/all_assembly_versions"
    assert genome_links.refseq_links(table).values.tolist() == [
        [
            "Zea_mays",
            f"{folder}/{accession}/{accession}_genomic.fna.gz",
            f"{folder}/{accession}/{accession}_genomic.gff.gz",
        ]
    ]
    path = tmp_path / "assembly_summary.txt"
    root = "ftp.ncbi.nlm.nih.gov/genomes/all/GCF/902/167/145"
    path.write_text(
        "#   See README_assembly_summary.txt for a description of the columns in this file.\n"
        "# assembly_accession\torganism_name\tftp_path\n"
        f"GCF_902167145.1\tZea mays subsp. mays\tftp://{root}/{accession}\n"
        "GCF_1.1\tRosa x hybrida\tna\n"
    )
    with caplog.at_level(logging.WARNING):
        links = genome_links.read_refseq_summary(path)
    assert links.values.tolist() == [
        [
            "Zea_mays_subsp_mays_GCF_902167145.1",
            f"https://{root}/{accession}/{accession}_genomic.fna.gz",
            f"https://{root}/{accession}/{accession}_genomic.gff.gz",
        ]
    ]
    assert "left out 1 assemblies without address: GCF_1.1" in caplog.text
    path.write_text("nothing\n")
    with pytest.raises(ValueError, match=r"expected NCBI's assembly_summary\.txt"):
        genome_links.read_refseq_summary(path)


def test_written_tables_are_read_again(tmp_path):
    path = tmp_path / "new" / "maize_nam_link.csv"
    links = genome_links.maizegdb_links()
    write_links(path, links)
    assert path.read_text().splitlines()[0] == "name,gene_link,annot_link"
    pd.testing.assert_frame_equal(read_links(path), links, check_dtype=False)
    genomes = pd.DataFrame({"species": ["a_b"], "assembly": ["c"]})
    write_links(path, genome_links.ensembl_links(genomes))
    assert path.read_text().splitlines()[0] == "name,gene_link,annot_link,species"
    assert read_links(path)["species"].tolist() == ["a_b"]
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    "header", ["name,gene_link,annot_link", "name,fasta_link,gff3_link", "name,fna_link,gff_link"]
)
def test_older_columns_are_read(tmp_path, header):
    path = tmp_path / "x_link.csv"
    path.write_text(f"{header}\nz, https://h/z.fa.gz,https://h/z.gff3.gz\n")
    assert read_links(path).to_dict("records") == [
        {"name": "z", "gene_link": "https://h/z.fa.gz", "annot_link": "https://h/z.gff3.gz"}
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name,gene_link\nz,https://h/a\n", "missing annot_link, found name, gene_link"),
        ("name,gene_link,annot_link\n", "the link table has no rows"),
        ("name,gene_link,annot_link\n../z,https://h/a,https://h/b\n", "row 1: the name is '../z'"),
        (
            "name,gene_link,annot_link\nz,https://h/a,https://h/b\nz,https://h/c,https://h/d\n",
            "two rows are named 'z'",
        ),
        ("name,gene_link,annot_link\nz,https://h/a,\n", "row 1: the address is '', expected http"),
        ("name,gene_link,annot_link\nz,ftp://h/a,https://h/b\n", "'ftp://h/a'.*offer ftp://"),
        ("name,gene_link,annot_link\nz,https://h/a/,https://h/b\n", "address is 'https://h/a/'"),
        ("name,gene_link,annot_link\nz,https://h/a,https://i/a\n", "are both named 'a'"),
    ],
)
def test_bad_tables_say_what_and_where(tmp_path, text, says):
    path = tmp_path / "x_link.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"x_link\.csv.*{says}"):
        read_links(path)


def test_a_missing_table_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file, expected a link table"):
        read_links(tmp_path / "x.csv")
