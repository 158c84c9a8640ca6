"""Where genomes and their annotations are: link tables of Ensembl Plants, RefSeq and MaizeGDB.

A link table has one genome per row: name, gene_link (the genome's FASTA), annot_link (its GFF3),
and for Ensembl species. Addresses are built from the databases' own patterns and lists; nothing is
guessed: what does not exist shows itself in the report of `genome_downloads`.

Source of the table, the patterns and the NAM lines: FloraBERT, released `{db}_link.csv` readers and
`input_genome_names.txt`; Ensembl's and NCBI's lists are described at the functions that read them.
"""

import logging
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd

logger = logging.getLogger(__name__)

LINK_COLUMNS = ("name", "gene_link", "annot_link")
#: Column names of older link tables -> ours. Source: FloraBERT, released test of the links.
OLD_COLUMNS = {
    "fasta_link": "gene_link",
    "fna_link": "gene_link",
    "gff3_link": "annot_link",
    "gff_link": "annot_link",
}
ENSEMBL_HOST = "https://ftp.ensemblgenomes.ebi.ac.uk"
ENSEMBL_RELEASE = 57  # Source: the release of FloraBERT's public re-run (2023)
REFSEQ_HOST = "https://ftp.ncbi.nlm.nih.gov"
MAIZEGDB_HOST = "https://download.maizegdb.org"
#: The NAM founder lines in the order of their annotations, Zm00018ab to Zm00042ab, after B73.
#: Source: MaizeGDB, NAM assemblies; FloraBERT, released input_genome_names.txt.
NAM_FOUNDERS = (
    *("B97", "CML52", "CML69", "CML103", "CML228", "CML247", "CML277", "CML322", "CML333"),
    *("HP301", "Il14H", "Ki3", "Ki11", "Ky21", "M37W", "M162W", "Mo18W", "Ms71", "NC350"),
    *("NC358", "Oh7B", "Oh43", "P39", "Tx303", "Tzi8"),
)
_FIRST_ANNOTATION = 18
_SCHEMES = ("http", "https")


def nam_lines() -> pd.DataFrame:
    """The 26 maize lines with own genomes: line, assembly, annotation, gene_prefix.

    gene_prefix is how the ids of a line's genes start (nine characters, `Zm00018ab`; B73's are
    `Zm00001eb`).
    """
    rows = [("B73", "Zm-B73-REFERENCE-NAM-5.0", "Zm00001eb.1")]
    for number, line in enumerate(NAM_FOUNDERS, start=_FIRST_ANNOTATION):
        rows.append((line, f"Zm-{line}-REFERENCE-NAM-1.0", f"Zm{number:05d}ab.1"))
    table = pd.DataFrame(rows, columns=["line", "assembly", "annotation"])
    return table.assign(gene_prefix=table["annotation"].str.removesuffix(".1"))


def maizegdb_links(lines: Iterable[str] | None = None) -> pd.DataFrame:
    """Link table of maize lines at MaizeGDB; all 26 by default. Names are `Zmb73`, `Zmb97`, ...

    Raises ValueError for a line that is none of the 26.
    """
    table = nam_lines().set_index("line")
    wanted = list(table.index) if lines is None else list(lines)
    unknown = [line for line in wanted if line not in table.index]
    if unknown:
        raise ValueError(
            f"{', '.join(unknown)}: no NAM line, expected some of {', '.join(table.index)}"
        )
    table = table.loc[wanted]
    folder = MAIZEGDB_HOST + "/" + table["assembly"] + "/"
    return pd.DataFrame(
        {
            "name": "Zm" + table.index.str.lower(),
            "gene_link": (folder + table["assembly"] + ".fa.gz").to_numpy(),
            "annot_link": (
                folder + table["assembly"] + "_" + table["annotation"] + ".gff3.gz"
            ).to_numpy(),
        }
    )


def ensembl_links(genomes: pd.DataFrame, release: int = ENSEMBL_RELEASE) -> pd.DataFrame:
    """Link table of genomes at Ensembl Plants, with a column species.

    genomes: columns species (`arabidopsis_thaliana`) and assembly (`TAIR10`), as
    `read_ensembl_species` gives them for all species of a release. File names are the species with
    a capital first letter, the assembly and, for the annotation, the release.
    """
    _need_columns(genomes, ("species", "assembly"), "a table of Ensembl genomes")
    if release < 1:
        raise ValueError(f"release is {release}, expected the number of an Ensembl Plants release")
    root = f"{ENSEMBL_HOST}/pub/plants/release-{release}"
    species = genomes["species"].astype(str)
    stem = species.str[:1].str.upper() + species.str[1:] + "." + genomes["assembly"].astype(str)
    return pd.DataFrame(
        {
            "name": species,
            "gene_link": f"{root}/fasta/" + species + "/dna/" + stem + ".dna.toplevel.fa.gz",
            "annot_link": f"{root}/gff3/" + species + "/" + stem + f".{release}.gff3.gz",
            "species": species,
        }
    ).reset_index(drop=True)


def ensembl_species_address(release: int = ENSEMBL_RELEASE) -> str:
    """Where Ensembl Plants lists the species of a release (for `read_ensembl_species`)."""
    return f"{ENSEMBL_HOST}/pub/plants/release-{release}/species_EnsemblPlants.txt"


def read_ensembl_species(path: str | Path) -> pd.DataFrame:
    """species and assembly of every genome in Ensembl's list of a release.

    Blanks in names of assemblies are underscores in the names of files. Lines of that list have one
    field more than its header, which starts with `#`: fields are taken by the header's order.
    """
    path = Path(path)
    lines = path.read_text(encoding="utf-8").splitlines()
    header = lines[0].lstrip("#").split("\t") if lines else []
    missing = {"species", "assembly"} - set(header)
    if missing:
        raise ValueError(
            f"{path}: expected Ensembl's tab-separated list of species, with a header that names "
            f"species and assembly; found {header[:6]}"
        )
    at = [header.index("species"), header.index("assembly")]
    fields = [line.split("\t") for line in lines[1:] if line]
    short = [number for number, words in enumerate(fields, start=2) if len(words) <= max(at)]
    if short:
        raise ValueError(f"{path}, line {short[0]}: expected more than {max(at)} fields")
    rows = [(words[at[0]], words[at[1]].strip().replace(" ", "_")) for words in fields]
    return pd.DataFrame(rows, columns=["species", "assembly"])


def refseq_links(assemblies: pd.DataFrame) -> pd.DataFrame:
    """Link table of plant assemblies at RefSeq.

    assemblies: columns species (`Zea_mays`, the name of its folder) and accession (with the name
    of the assembly, `GCF_902167145.1_Zm-B73-REFERENCE-NAM-5.0`).
    """
    _need_columns(assemblies, ("species", "accession"), "a table of RefSeq assemblies")
    species = assemblies["species"].astype(str)
    accession = assemblies["accession"].astype(str)
    folder = f"{REFSEQ_HOST}/genomes/refseq/plant/" + species + "/all_assembly_versions/"
    stem = folder + accession + "/" + accession + "_genomic"
    return pd.DataFrame(
        {"name": species, "gene_link": stem + ".fna.gz", "annot_link": stem + ".gff.gz"}
    ).reset_index(drop=True)


def read_refseq_summary(path: str | Path) -> pd.DataFrame:
    """Link table of all assemblies in NCBI's `assembly_summary.txt` of a group (such as plant).

    Addresses are those in its column ftp_path, as https; names are the organism's and, to be
    unique, the accession. Assemblies without an address (`na`) are left out, named in the log.

    Source: NCBI, README_assembly_summary.txt.
    """
    path = Path(path)
    lines = path.read_text(encoding="utf-8").splitlines()
    headers = [i for i, line in enumerate(lines) if line.startswith("#") and "ftp_path" in line]
    if not headers:
        raise ValueError(
            f"{path}: expected NCBI's assembly_summary.txt, with a header line that starts with # "
            "and names ftp_path"
        )
    columns = lines[headers[0]].lstrip("# ").split("\t")
    fields = [line.split("\t") for line in lines if line and not line.startswith("#")]
    table = pd.DataFrame(fields, columns=columns, dtype=str)
    _need_columns(table, ("assembly_accession", "organism_name", "ftp_path"), str(path))
    without = table["ftp_path"].str.strip().isin(["", "na"])
    if without.any():
        lost = ", ".join(table.loc[without, "assembly_accession"])
        logger.warning("%s: left out %d assemblies without address: %s", path, without.sum(), lost)
    table = table[~without]
    folder = table["ftp_path"].str.strip().str.replace(r"^ftp:", "https:", regex=True)
    stem = folder + "/" + folder.str.rsplit("/", n=1).str[-1] + "_genomic"
    names = table["organism_name"].str.replace(r"\W+", "_", regex=True).str.strip("_")
    return pd.DataFrame(
        {
            "name": names + "_" + table["assembly_accession"],
            "gene_link": stem + ".fna.gz",
            "annot_link": stem + ".gff.gz",
        }
    ).reset_index(drop=True)


def read_links(path: str | Path) -> pd.DataFrame:
    """A `{db}_link.csv`: name, gene_link, annot_link, and species where the file has it.

    Older column names (fasta_link, fna_link, gff3_link, gff_link) are read too. Raises
    FileNotFoundError, or ValueError for missing columns and what `check_table` refuses.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file, expected a link table (CSV)")
    table = pd.read_csv(path, dtype=str, keep_default_na=False).rename(columns=OLD_COLUMNS)
    _need_columns(table, LINK_COLUMNS, str(path))
    kept = [*LINK_COLUMNS, *(["species"] if "species" in table else [])]
    table = table[kept].apply(lambda column: column.str.strip())
    check_table(table, str(path))
    return table


def write_links(path: str | Path, links: pd.DataFrame) -> None:
    """Write a link table as CSV, columns in the order of the released tables."""
    path = Path(path)
    check_table(links, str(path))
    kept = [*LINK_COLUMNS, *(["species"] if "species" in links else [])]
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    links[kept].to_csv(partial, index=False, lineterminator="\n")
    partial.replace(path)


def check_table(links: pd.DataFrame, where: str) -> None:
    """ValueError for missing columns, no rows, names or addresses that cannot be used."""
    _need_columns(links, LINK_COLUMNS, where)
    if not len(links):
        raise ValueError(f"{where}: the link table has no rows")
    for row, name in enumerate(links["name"], start=1):
        if not name or name in (".", "..") or set(name) & set("/\\"):
            raise ValueError(f"{where}, row {row}: the name is {name!r}, expected a folder's name")
    doubled = links["name"][links["name"].duplicated()]
    if len(doubled):
        raise ValueError(
            f"{where}: two rows are named {doubled.iloc[0]!r}, names have to be unique"
        )
    for row, links_of_row in enumerate(links[list(LINK_COLUMNS[1:])].itertuples(index=False), 1):
        for address in links_of_row:
            parts = urlsplit(address)
            if parts.scheme not in _SCHEMES or not parts.netloc or parts.path.endswith("/"):
                hint = " (servers of genomes offer ftp:// paths under https://, too)"
                raise ValueError(
                    f"{where}, row {row}: the address is {address!r}, expected http(s)://host/path"
                    f"{hint if parts.scheme == 'ftp' else ''}"
                )
        files = [address.rsplit("/", 1)[-1] for address in links_of_row]
        if files[0] == files[1]:
            raise ValueError(
                f"{where}, row {row}: genome and annotation are both named {files[0]!r}"
            )


def _need_columns(table: pd.DataFrame, columns: Iterable[str], where: str) -> None:
    missing = [column for column in columns if column not in table]
    if missing:
        raise ValueError(
            f"{where}: expected the columns {', '.join(columns)}; missing {', '.join(missing)}, "
            f"found {', '.join(map(str, table.columns)) or 'none'}"
        )
