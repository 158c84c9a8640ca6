"""`python -m genomelm_utils.promoters`: promoters of one's own genome and annotation."""

import argparse
import signal
import sys
from functools import partial
from pathlib import Path

from genomelm_utils.command_errors import run_command

# the packages that compute are imported when they are needed: --help is instant
PROGRAM = "genomelm_utils.promoters"
GENES = ".genes.tsv"  # beside the FASTA file
READERS = (".fasta", ".promoters")  # loggers: what they left out is told here
SOURCES = ("auto", "gtf", "ensembl", "maizegdb", "refseq", "nam")
RULES = ("corrected", "reference")
FLANK_BP = 1000  # Source: FloraBERT

ABOUT = """Promoters of annotated genes: up to --flank bases upstream of each gene's start, less all
other genes, the piece nearest the start; read 5' to 3' with the start at the right end.
Writes FASTA (names ID::contig:start-end(strand)) and beside a result X: X.genes.tsv (where each
promoter lies, and the gap to its gene), X.skipped.tsv (genes without one, and why), X.json."""
EXAMPLES = """examples:
  python -m {program} genome.fa.gz genes.gff3.gz --out promoters.fa
  python -m {program} genome.fna genes.gff --source refseq --flank 500 --out promoters.fa.gz
the reference rules are those of FloraBERT's released code: pieces that do not touch their gene stay
(--fragment-rule), soft-masked bases stay in lower case (--case), ids by position (--id-rule)"""


def build_parser() -> argparse.ArgumentParser:
    """The command line's arguments."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {PROGRAM}",
        description=ABOUT,
        epilog=EXAMPLES.format(program=PROGRAM),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("fasta", type=Path, help="the genome: FASTA, plain or gzipped")
    add("annotation", type=Path, help="its genes: GFF3 or GTF, plain or gzipped")
    add("--out", type=Path, required=True, help="where to write: FASTA, gzipped if named *.gz")
    add("--flank", type=int, default=FLANK_BP, metavar="BP", help="longest promoter [1000]")
    add("--source", choices=SOURCES, default="auto", help="whose annotation it is [auto]")
    add("--fragment-rule", choices=RULES, default="corrected", help="[corrected]")
    add("--case", choices=RULES, default="corrected", help="[corrected: upper case]")
    add("--id-rule", choices=RULES, default="corrected", help="[corrected]")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Extract promoters; status 0 well, 1 no space, 2 the request was wrong, 130 interrupted.

    Results are files, with one line per outcome on standard output; an error of the user is one
    sentence on standard error, never a traceback.
    """
    given = build_parser().parse_args(arguments)
    given.argv = list(sys.argv[1:] if arguments is None else arguments)
    # genes and records left out are counted and named here
    return run_command("promoters", partial(_run, given), readers=READERS)


def _run(given: argparse.Namespace) -> list[str]:
    """Write the files; returns what to say: how many genes came to what."""
    from genomelm_utils.command_outputs import SETTINGS, SKIPPED, check_outputs, open_output
    from genomelm_utils.sequences.fasta import read_fasta
    from genomelm_utils.sequences.promoters import extract_promoters, write_promoters

    check_outputs(given, ("", SETTINGS, SKIPPED, GENES))
    records = read_fasta(given.fasta)
    found = extract_promoters(
        records,
        given.annotation,
        flank_bp=given.flank,
        fragment_rule=given.fragment_rule,
        case=given.case,
        source=given.source,
        id_rule=given.id_rule,
    )
    counts = found.count()
    with open_output(given.out) as output:
        write_promoters(output.path(), found.table)
        output.write_table(found.table.drop(columns="sequence"), GENES)
        skipped = found.skipped.rename(columns={"gene_id": "name"})
        output.write_skipped(skipped)
        output.write_settings(
            given,
            program=PROGRAM,
            id_source=found.source,
            id_source_why=found.why,
            genes=dict(zip(counts["outcome"], counts["genes"].tolist(), strict=True)),
            empty_fasta_records=records.skipped["name"].tolist(),
        )
    lines = [f"{row.genes:,} {row.outcome}" for row in counts.itertuples()]
    return [f"{found.n_genes:,} genes ({found.source}: {found.why})", *lines]


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a cancelled job tidies up, too
    sys.exit(main())
