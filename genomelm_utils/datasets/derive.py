"""How the data files that nobody publishes as such are made from files that somebody does.

One function per file: paths of the sources (in the order of the registry's `sources` column) in,
the bytes of the uncompressed file out. They are deterministic to the byte, so that the registry's
content hash holds for a file made here as for one that was at hand.
"""

import gzip
import io
import random
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

Sources = Mapping[str, Path]

# Pieces of the assembly hg19 that lie in genomes/human, as (chromosome, start, end), 0-based.
HG19_PIECES = (
    ("chr22", 20_000_000, 21_000_000),
    ("chr3", 42_000_000, 44_000_000),
    ("chr4", 103_000_000, 105_000_000),
)
# The simulated assembly: log-normal contig lengths in bp (median e^9 = 8.1 kb), their limits, how
# many contigs a genome gives at most, and the seed. Source: ours, fixed when the file was made.
CONTIG_LOG_MEAN, CONTIG_LOG_SD = 9.0, 0.6
CONTIG_MIN_BP, CONTIG_MAX_BP = 2_500, 60_000
CONTIGS_PER_GENOME = 60
CONTIG_SEED = 20240611
LINE_BP = 80  # bases per line of the FASTA files made here


def read_content(path: Path) -> bytes:
    """The uncompressed content of a file, plain or gzip (told by content, not by name)."""
    data = path.read_bytes()
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


def genbank_to_fasta(sources: Sources) -> bytes:
    """The sequence of a one-record GenBank file as FASTA: version and definition in the header."""
    (path,) = sources.values()
    head, _, origin = read_content(path).decode().partition("\nORIGIN")
    version = head.partition("\nVERSION")[2].split(maxsplit=1)[0]
    lines = head.partition("\nDEFINITION")[2].split("\n")
    definition = [lines[0].strip()]
    for line in lines[1:]:  # continuation lines are indented
        if not line.startswith(" "):
            break
        definition.append(line.strip())
    letters = origin.partition("\n//")[0].partition("\n")[2]
    bases = letters.translate(str.maketrans("", "", " \n\r0123456789")).upper()
    return f">{version} {' '.join(definition)}\n{_wrap(bases)}".encode()


def keep_hg19_pieces(sources: Sources) -> bytes:
    """The rows of a BED file that lie wholly inside one of the hg19 pieces, unchanged."""
    (path,) = sources.values()
    lines = read_content(path).decode().splitlines(keepends=True)
    table = pd.DataFrame(
        [line.split("\t")[:3] for line in lines], columns=["chrom", "start", "end"]
    )
    start, end = table["start"].astype(int), table["end"].astype(int)
    inside = np.zeros(len(table), dtype=bool)
    for chrom, first, last in HG19_PIECES:
        inside |= (table["chrom"] == chrom) & (start >= first) & (end <= last)
    return "".join(lines[i] for i in np.flatnonzero(inside)).encode()


def join_promoter_activity(sources: Sources) -> bytes:
    """E. coli promoters (50 bp) beside their measured expression; numbers as they are stored."""
    promoters, expression = (np.load(path, allow_pickle=False) for path in sources.values())
    table = pd.DataFrame({"sequence": np.char.upper(promoters), "expression": expression})
    return _to_tsv(table)


def stack_tss_tiles(sources: Sources) -> bytes:
    """Human and mouse promoter tiles with their activity in two cell types, one table.

    Rows without a TSS id (571 of 13,111 in the published tables: no sequence, no value) stay.
    """
    columns = {
        "species": "species",
        "tss_id": "tss_id",
        "tss_tile_num": "tile",
        "biotype": "biotype",
        "chrom": "chrom",
        "actual_start": "start",
        "actual_end": "end",
        "strand": "strand",
        "element": "sequence",
        "HUES64": "HUES64",
        "mESC": "mESC",
        "HUES64_log": "HUES64_log10",
        "mESC_log": "mESC_log10",
    }
    own_assembly = {"human": "minimal_biotype_hg19", "mouse": "minimal_biotype_mm9"}
    tables = []
    for (species, biotype), path in zip(own_assembly.items(), sources.values(), strict=True):
        table = _read_text_table(path).drop(columns="species")
        tables.append(table.assign(species=species, biotype=table[biotype])[list(columns)])
    stacked = pd.concat(tables).rename(columns=columns)
    for column in ("start", "end"):
        stacked[column] = stacked[column].str.replace(r"\.0$", "", regex=True)
    order = ["species", "tss_id", "tile", "biotype"]
    return _to_tsv(stacked.sort_values(order, kind="stable"))


def join_leaf_protoplast(sources: Sources) -> bytes:
    """Plant core promoters measured in leaf or protoplasts or both; empty = not measured."""
    return _to_tsv(_leaf_and_protoplast(*sources.values()))


def join_maize_tissues(sources: Sources) -> bytes:
    """Maize core promoters with both assays and the gene's FPKM per tissue."""
    return _join_tissues("Zm", *sources.values())


def join_sorghum_tissues(sources: Sources) -> bytes:
    """Sorghum core promoters with both assays and the gene's FPKM per tissue."""
    return _join_tissues("Sb", *sources.values())


def cut_contigs(sources: Sources) -> bytes:
    """Unlabelled contigs as FASTA, cut from the genomes; who is who is in `cut_contigs_truth`."""
    pieces = _contig_pieces(sources)
    return b"".join(
        f">contig_{i:05d}\n{_wrap(bases)}".encode() for i, (*_, bases) in enumerate(pieces, start=1)
    )


def cut_contigs_truth(sources: Sources) -> bytes:
    """Species, accession, record and place (0-based half-open) of every contig."""
    rows = [
        (f"contig_{i:05d}", species_of(name), accession_of(name), record, start, end, end - start)
        for i, (name, record, start, end, _) in enumerate(_contig_pieces(sources), start=1)
    ]
    header = ["contig", "species", "accession", "source_record", "start0", "end0", "length"]
    return _to_tsv(pd.DataFrame(rows, columns=header))


def count_genomes(sources: Sources) -> bytes:
    """One row per genome: species, accession, records, bases, bases other than ACGT, GC share."""
    rows = []
    for name, path in sources.items():
        records = [bases for _, bases in _read_records(path)]
        total_bp = sum(map(len, records))
        a, c, g, t = (sum(bases.count(base) for bases in records) for base in "ACGT")
        definite = a + c + g + t
        gc = f"{(c + g) / definite:.4f}"
        names = (name, species_of(name), accession_of(name))
        rows.append((*names, len(records), total_bp, total_bp - definite, gc))
    header = ["file", "species", "accession", "records", "total_bp", "N_or_ambiguous", "gc"]
    return _to_tsv(pd.DataFrame(rows, columns=header))


def species_of(name: str) -> str:
    """The species in a genome file's name: `Genus_species_strain__accession.fna.gz`."""
    genus, epithet, *rest = Path(name).name.partition("__")[0].split("_")
    return " ".join([genus, "sp.", *rest]) if epithet == "sp" else f"{genus} {epithet}"


def accession_of(name: str) -> str:
    """The accession in a genome file's name."""
    return Path(name).name.partition("__")[2].removesuffix(".gz").removesuffix(".fna")


def _contig_pieces(sources: Sources) -> list[tuple[str, str, int, int, str]]:
    """(genome, record, start, end, bases) of every contig in the order of the file.

    The order of the draws is part of the file's identity: lengths genome by genome, a shuffle of
    each genome's pieces of which the first are kept, and one shuffle of all at the end.
    """
    rng = random.Random(CONTIG_SEED)
    kept = []
    for name, path in sources.items():
        pieces = []
        for record, bases in _read_records(path):
            start = 0
            while start < len(bases):
                drawn = rng.lognormvariate(CONTIG_LOG_MEAN, CONTIG_LOG_SD)
                length = int(min(max(drawn, CONTIG_MIN_BP), CONTIG_MAX_BP))
                piece = bases[start : start + length]
                if len(piece) >= CONTIG_MIN_BP and not piece.strip("ACGT"):
                    pieces.append((name, record, start, start + len(piece), piece))
                start += length
        rng.shuffle(pieces)
        kept += pieces[:CONTIGS_PER_GENOME]
    rng.shuffle(kept)
    return kept


def _read_records(path: Path) -> list[tuple[str, str]]:
    """(name, upper-case bases) of every record of a FASTA file."""
    records = []
    for block in read_content(path).decode().split(">")[1:]:
        header, _, lines = block.partition("\n")
        records.append((header.split()[0], lines.replace("\n", "").replace("\r", "").upper()))
    return records


def _leaf_and_protoplast(leaf_path: Path, protoplast_path: Path) -> pd.DataFrame:
    keys = ["sp", "gene", "sequence"]
    leaf, protoplast = (
        _read_text_table(path)[[*keys, "enrichment"]].rename(columns={"enrichment": name})
        for path, name in ((leaf_path, "leaf"), (protoplast_path, "proto"))
    )
    return leaf.merge(protoplast, on=keys, how="outer").fillna("").sort_values(keys)


def _join_tissues(species: str, leaf_path: Path, protoplast_path: Path, fpkm_path: Path) -> bytes:
    joined = _leaf_and_protoplast(leaf_path, protoplast_path)
    fpkm = _read_text_table(fpkm_path, comment="#").drop(columns="Gene Name")
    table = (
        joined[joined["sp"] == species]
        .merge(fpkm, left_on="gene", right_on="Gene ID", how="inner")
        .drop(columns=["sp", "Gene ID"])
    )
    return _to_tsv(table.rename(columns={"leaf": "assay_leaf", "proto": "assay_proto"}))


def _read_text_table(path: Path, comment: str | None = None) -> pd.DataFrame:
    """A TSV with every cell as the text that stands there: numbers keep their digits."""
    content = io.BytesIO(read_content(path))
    return pd.read_csv(content, sep="\t", dtype=str, keep_default_na=False, comment=comment)


def _to_tsv(table: pd.DataFrame) -> bytes:
    return table.to_csv(sep="\t", index=False, lineterminator="\n").encode()


def _wrap(bases: str) -> str:
    return "".join(f"{bases[i : i + LINE_BP]}\n" for i in range(0, len(bases), LINE_BP))


# Registry name -> the function that makes the file.
DERIVED_FILES: dict[str, Callable[[Sources], bytes]] = {
    "expression/ecoli/deep_promoter_50bp.tsv.gz": join_promoter_activity,
    "expression/human_mouse_tss/tss_two_cell_types.tsv.gz": stack_tss_tiles,
    "expression/plant_core_promoters/leaf_protoplast_joined.tsv.gz": join_leaf_protoplast,
    "expression/plant_core_promoters/maize_23_tissues.tsv.gz": join_maize_tissues,
    "expression/plant_core_promoters/sorghum_11_tissues.tsv.gz": join_sorghum_tissues,
    "genomes/bacteria/Mycoplasma_genitalium__NC_000908.2.fna.gz": genbank_to_fasta,
    "genomes/bacteria/Mycoplasma_pneumoniae__NC_000912.1.fna.gz": genbank_to_fasta,
    "genomes/human/hg19_protein_coding_TSS_500bp.bed": keep_hg19_pieces,
    "species/contigs/contigs.fna.gz": cut_contigs,
    "species/contigs/contigs.truth.tsv.gz": cut_contigs_truth,
    "species/genomes.tsv": count_genomes,
}
