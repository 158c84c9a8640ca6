"""`python -m genomelm_utils.species`: embed, cluster, classify and bin one's own sequences."""

import argparse
import errno
import logging
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# the packages that compute are imported when a command needs them: --help is instant
OK, FAILED, USER_ERROR, INTERRUPTED = 0, 1, 2, 130
PROGRAM = "python -m genomelm_utils.species"
FEATURES = ("canonical_tnf", "tnf", "tnf_k")
MIN_BIN_BP = 2500  # Source: DNABERT-S bins contigs of 2,500 bp or more
MIN_BIN_SIZE = 10  # Source: DNABERT-S
MAX_BINS = 1000  # Source: DNABERT-S
WINDOW_BP = 10_000  # Source: DNABERT-S was trained on pieces of 10,000 bp
#: Options that only a model uses, and what they are when they are not given.
MODEL_OPTIONS: dict[str, object] = {
    "strands": "forward",
    "window_bp": WINDOW_BP,
    "overlap": 0.0,
    "ambiguous": "unk",
    "dtype": "auto",
    "device": "auto",
    "cache": None,
}
LENGTHS_BP = (500, 1000, 2000, 5000, 10_000, 20_000)
#: Loggers that tell of records left out, which every command counts and names itself.
READERS = (".stream", ".fasta", ".genome", ".species_contigs", ".species_pairs", "_pair_files")

ABOUT = """Sequences as numbers, and what they say about species: clusters, species, bins.
FASTA or FASTQ in, plain or compressed; tables with names out, in the order of the input.
Beside every result X: X.json (settings, versions, scores) and X.skipped.tsv (records left out)."""
EXAMPLES = {
    "embed": """examples:
  {program} embed contigs.fa.gz --model DNABERT-S --out emb.npy
  {program} embed reads.fq.gz --features canonical_tnf --out tnf.parquet""",
    "cluster": """examples:
  {program} cluster contigs.fa --features canonical_tnf --k 12 --out clusters.tsv
  {program} cluster emb.npy --truth truth.tsv --out clusters.tsv
the truth is a tab-separated table with the columns contig and species""",
    "classify": """examples:
  {program} classify --train labelled.tsv --predict contigs.fa --model DNABERT-S --out found.tsv
  {program} classify --train known.fa --truth known.tsv --predict contigs.fa \\
      --features canonical_tnf --out found.tsv
labelled.tsv has a header and two columns, sequence and species. A contig of a species that is not
in the training still gets one of those: look at its probability.""",
    "bin": """examples:
  {program} bin contigs.fa.gz --model DNABERT-S --fasta-out bins --out bins.tsv
  {program} bin emb.npy --gamma 0.9 --truth truth.tsv --out bins.tsv
--gamma auto needs no labels: it asks how alike the two halves of a contig are.""",
    "make-pairs": """examples:
  {program} make-pairs genomes/*.fna.gz --species-table species.tsv --n 10000 --out pairs.csv
  {program} make-pairs --check pairs.csv
species.tsv has the columns file and species; without it every file is a species of its own.""",
}


def build_parser() -> argparse.ArgumentParser:
    """The command line's arguments."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description=ABOUT,
        epilog=f"{PROGRAM} COMMAND --help shows the options of a command, with examples",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, (about, add_options) in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=about,
            description=f"{about[0].upper()}{about[1:]}.",
            epilog=EXAMPLES[name].format(program=PROGRAM),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        add_options(command)
    return parser


def _add_embed(command: argparse.ArgumentParser) -> None:
    command.add_argument("input", type=Path, help="FASTA or FASTQ")
    _add_out(command, "where to write: OUT.npy or OUT.parquet")
    _add_features(command, min_bp=1)


def _add_cluster(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("input", type=Path, help="FASTA or FASTQ, or what `embed` wrote")
    add("--k", type=int, help="number of clusters [with --truth: number of species]")
    add("--truth", type=Path, metavar="TSV", help="species of the sequences, to score clusters")
    _add_seed(command)
    _add_out(command, "where to write: a tab-separated table")
    _add_features(command, min_bp=1)


def _add_classify(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--train", type=Path, required=True, help="labelled table, or sequences with --truth")
    add("--truth", type=Path, metavar="TSV", help="species of the sequences of --train")
    add("--predict", type=Path, required=True, help="FASTA or FASTQ, or what `embed` wrote")
    add("--predict-truth", type=Path, metavar="TSV", help="their species, to score predictions")
    add("--shots", type=int, metavar="N", help="train on N sequences per species at most [all]")
    _add_seed(command)
    _add_out(command, "where to write: a tab-separated table")
    _add_features(command, min_bp=1)


def _add_bin(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("input", type=Path, help="FASTA or FASTQ, or what `embed` wrote")
    add("--gamma", type=_gamma, default="auto", help="cosine of a bin, 0 to 1 [auto]")
    add("--min-bin-size", type=int, default=MIN_BIN_SIZE, metavar="N", help="contigs of a bin [10]")
    add("--max-bins", type=int, default=MAX_BINS, metavar="N", help="stop after so many [1000]")
    add("--truth", type=Path, metavar="TSV", help="species of the contigs, to score bins")
    add("--fasta-out", type=Path, metavar="FOLDER", help="a new folder: one FASTA per bin")
    _add_seed(command)
    _add_out(command, "where to write: a tab-separated table")
    _add_features(command, min_bp=MIN_BIN_BP)


def _add_make_pairs(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("genomes", type=Path, nargs="*", help="FASTA files, one genome each")
    add("--species-table", type=Path, metavar="TSV", help="species of the files")
    add("--n", type=_positive, default=10_000, help="number of pairs [10000]")
    add(
        "--lengths-bp",
        type=_positive,
        nargs="+",
        default=list(LENGTHS_BP),
        metavar="BP",
        help="lengths to draw from [%(default)s]",
    )
    add("--strands", choices=("both", "forward"), default="both", help="[both]")
    add(
        "--balance",
        choices=("species", "bases"),
        default="species",
        help="all species alike, or genomes by their size [species]",
    )
    add("--check", type=Path, metavar="CSV", help="make nothing: say what this pair file holds")
    _add_seed(command)
    add("--out", type=Path, metavar="OUT.csv", help="where to write; zipped if it ends in .gz")


def _add_out(command: argparse.ArgumentParser, about: str) -> None:
    command.add_argument("--out", type=Path, required=True, metavar="OUT", help=about)


def _add_seed(command: argparse.ArgumentParser) -> None:
    command.add_argument("--seed", type=_seed, default=0, help="of all that is drawn [0]")


def _add_features(command: argparse.ArgumentParser, min_bp: int) -> None:
    """How sequences become numbers: the same for every command."""
    add = command.add_argument
    add(
        "--min-bp",
        type=_positive,
        default=min_bp,
        metavar="BP",
        help=f"leave out shorter [{min_bp}]",
    )
    group = command.add_argument_group(
        "sequences as numbers", "The options below --features are of models."
    )
    one = group.add_mutually_exclusive_group(required=command.prog.endswith(" embed"))
    one.add_argument("--model", type=Path, metavar="FOLDER", help="a model and its tokenizer")
    one.add_argument("--features", choices=FEATURES, help="4-mer composition, without a model")
    add = group.add_argument
    add(
        "--strands",
        choices=("forward", "both"),
        help="with both, a model reads the reverse complement too and the mean is taken [forward]",
    )
    add(
        "--window-bp",
        type=int,
        metavar="BP",
        help="a model reads longer sequences in windows and the mean is taken [10000]",
    )
    add("--overlap", type=float, metavar="SHARE", help="of windows, 0 to 0.5 [0]")
    add(
        "--ambiguous",
        choices=("unk", "skip"),
        help="N and its kin are unknown tokens to a model, or left out [unk]",
    )
    add("--dtype", choices=("auto", "fp32", "bf16"), help="bf16 on CUDA [auto]")
    add("--device", help="cpu, cuda, cuda:1 or mps [auto: the first GPU there is]")
    add("--cache", type=Path, metavar="FOLDER", help="keep a model's embeddings for next time")


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"is {text!r}, expected a whole number, 1 or more")
    return int(text)


def _gamma(text: str) -> float | str:
    try:
        return text if text == "auto" else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"is {text!r}, expected auto or a number between 0 and 1"
        ) from None


def _seed(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"is {text!r}, expected a whole number from 0 to 2^32 - 1")
    return int(text)


#: name -> what it does, and what adds its options.
COMMANDS = {
    "embed": ("one row of numbers per sequence, from a model or by composition", _add_embed),
    "cluster": ("K-means clusters, and how well they agree with known species", _add_cluster),
    "classify": ("the species of sequences, learned from a few of each", _add_classify),
    "bin": ("contigs of a metagenome into genomes, their number not given", _add_bin),
    "make-pairs": ("pairs of windows of genomes, to train a model with", _add_make_pairs),
}


def main(arguments: list[str] | None = None) -> int:
    """Run a command; status 0 well, 1 no space or memory, 2 the request was wrong, 130 interrupted.

    Results are files, with a few lines on standard output; an error of the user is one sentence on
    standard error, never a traceback.
    """
    given = build_parser().parse_args(arguments)
    given.argv = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with _messages():
            lines = _run(given)
    except ValueError as error:
        return _tell_error(given, str(error), USER_ERROR)
    except ImportError as error:
        missing = f"the package {error.name} is missing" if error.name else str(error)
        return _tell_error(given, f"{missing}; install the package 'genomelm[train]'", USER_ERROR)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        status = FAILED if error.errno == errno.ENOSPC else USER_ERROR
        return _tell_error(given, f"{where}{error.strerror or error}", status)
    except RuntimeError as error:
        if "out of memory" not in str(error):
            raise
        return _tell_error(given, f"{error}; take a smaller --window-bp or --device cpu", FAILED)
    except MemoryError as error:
        what = f" ({error})" if str(error) else ""
        return _tell_error(given, f"out of memory{what}; give fewer sequences at a time", FAILED)
    except KeyboardInterrupt:
        return _tell_error(given, "interrupted, nothing was written", INTERRUPTED)
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return OK


def _run(given: argparse.Namespace) -> list[str]:
    from genomelm_utils import species_commands
    from genomelm_utils.species_binning import bin_file
    from genomelm_utils.species_outputs import check_outputs

    check_outputs(given)
    if given.command != "make-pairs":
        _settle_model_options(given)
    run = {
        "embed": species_commands.embed,
        "cluster": species_commands.cluster,
        "classify": species_commands.classify,
        "bin": bin_file,
        "make-pairs": species_commands.make_pairs,
    }
    return run[given.command](given)


def _settle_model_options(given: argparse.Namespace) -> None:
    """Defaults where there is a model; without one ValueError for options that would do nothing."""
    asked = [name for name in MODEL_OPTIONS if getattr(given, name) is not None]
    if asked and given.model is None:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in asked)
        strands = "; --features canonical_tnf counts both strands" if "strands" in asked else ""
        raise ValueError(f"only a --model uses {options}: leave that out, or give one{strands}")
    for name in set(MODEL_OPTIONS) - set(asked):
        setattr(given, name, MODEL_OPTIONS[name] if given.model is not None else None)


def _tell_error(given: argparse.Namespace, text: str, status: int) -> int:
    sys.stderr.write(f"{given.command}: {' '.join(text.split())}\n")
    return status


@contextmanager
def _messages() -> Iterator[None]:
    """Inside, warnings of the package and of libraries are lines on standard error."""
    logger = logging.getLogger("genomelm_utils")
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.WARNING)
    handler.addFilter(lambda record: not record.name.endswith(READERS))
    logger.addHandler(handler)
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            yield
        finally:
            logger.removeHandler(handler)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    sys.stderr.write(f"warning: {' '.join(str(message).split())}\n")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a cancelled job tidies up, too
    sys.exit(main())
