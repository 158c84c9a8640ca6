"""The options of `python -m genomelm_utils.species`, command by command, with examples."""

import argparse
from pathlib import Path

# nothing of the packages that compute is imported here: --help is instant
PROGRAM = "python -m genomelm_utils.species"
FEATURES = ("canonical_tnf", "tnf", "tnf_k")
MIN_BIN_BP = 2500  # Source: DNABERT-S bins contigs of 2,500 bp or more
MIN_BIN_SIZE = 10  # Source: DNABERT-S
MAX_BINS = 1000  # Source: DNABERT-S
NEIGHBOURS, RECALL = ("auto", "exact", "approximate"), 0.95
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
SHOTS = (1, 2, 5, 10, 20)  # Source: DNABERT-S
PRESETS = ("pico", "nano", "micro", "mini", "dnabert-s")  # of `models.alibi_config`, smallest first
DEFAULT_PRESET = "nano"  # of the small profile
TRAIN_STEPS = 400  # as in params/small.yaml: minutes on two cores
TEST_SHARE = 0.2  # of genomes, by species; in params/small.yaml 7 of 27
LENGTHS_BP = (500, 1000, 2000, 5000, 10_000, 20_000)

ABOUT = """Sequences as numbers, and what they say about species: clusters, species, bins.
Encoders too: trained on one's own genomes, scored on labelled sequences, published ones converted.
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
  {program} bin contigs.fa --model DNABERT-S --fuse-tnf --coverage depth.txt --out bins.tsv
--gamma auto needs no labels: it asks how alike the two halves of a contig are. depth.txt is what
jgi_summarize_bam_contig_depths wrote, or a table with a contig and one depth per sample.""",
    "make-pairs": """examples:
  {program} make-pairs genomes/*.fna.gz --species-table species.tsv --n 10000 --out pairs.csv
  {program} make-pairs --check pairs.csv
species.tsv has the columns file and species; without it every file is a species of its own.""",
    "train": """examples:
  {program} train genomes/*.fna.gz --table species.tsv --out mine
  {program} train genomes/*.fna.gz --table species.tsv --start DNABERT-S --steps 2000 --out mine
Some species are held out, and contigs of them written beside the model:
  {program} eval mine/test.fa.gz --truth mine/test.tsv --model mine --out scores.tsv
A training that was stopped goes on when the same command is given again.""",
    "eval": """examples:
  {program} eval labelled.tsv --model DNABERT-S --out scores.tsv
  {program} eval contigs.fa --truth truth.tsv --features tnf_k --out scores.tsv
labelled.tsv has a header and two columns, sequence and species; truth.tsv the columns contig and
species. Canonical TNF stands beside whatever is scored.""",
    "convert": """examples:
  {program} convert DNABERT-S converted
  {program} convert DNABERT-2-117M converted
The folder holds config.json, pytorch_model.bin and tokenizer.json as published.""",
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
    add("--coverage", type=Path, metavar="TSV", help="depth of the contigs, a column per sample")
    add("--coverage-weight", type=float, metavar="W", help="beside 1 for the sequence [1]")
    add("--fuse-tnf", action="store_true", help="4-mer composition beside a model's embeddings")
    add("--neighbours", choices=NEIGHBOURS, default="auto", help="[auto: exact up to a million]")
    add("--recall", type=float, default=RECALL, help="of neighbours, when approximate [0.95]")
    add("--truth", type=Path, metavar="TSV", help="species of the contigs, to score bins")
    add("--fasta-out", type=Path, metavar="FOLDER", help="a new folder: one FASTA per bin")
    _add_seed(command)
    _add_out(command, "where to write: a tab-separated table")
    _add_features(command, min_bp=MIN_BIN_BP)


def _add_make_pairs(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("genomes", type=Path, nargs="*", help="FASTA files, one genome each")
    _add_table(command)
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
    _add_error_rate(command)
    add("--check", type=Path, metavar="CSV", help="make nothing: say what this pair file holds")
    _add_seed(command)
    add("--out", type=Path, metavar="OUT.csv", help="where to write; zipped if it ends in .gz")


def _add_train(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("genomes", type=Path, nargs="+", help="FASTA files, one genome each")
    _add_table(command)
    add("--steps", type=_positive, default=TRAIN_STEPS, help=f"of training [{TRAIN_STEPS}]")
    add("--start", type=Path, metavar="FOLDER", help="a pretrained model [random weights]")
    add("--tokenizer", type=Path, metavar="FOLDER", help="byte-pair tokens [trained here]")
    add("--preset", choices=PRESETS, help=f"size of a network of random weights [{DEFAULT_PRESET}]")
    add(
        "--lengths-bp",
        type=_positive,
        nargs="+",
        metavar="BP",
        help="lengths of windows to draw from [2000; 10000 with --start]",
    )
    add(
        "--test-share",
        type=_share,
        default=TEST_SHARE,
        metavar="SHARE",
        help=f"of the genomes held out, whole species [{TEST_SHARE}]",
    )
    _add_error_rate(command)
    _add_seed(command)
    _add_out(command, "a new folder: model, tokenizer, records, contigs of species held out")


def _add_eval(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("input", type=Path, help="labelled table, or FASTA or FASTQ with --truth")
    add("--truth", type=Path, metavar="TSV", help="species of the sequences")
    add(
        "--shots",
        type=_positive,
        nargs="+",
        default=list(SHOTS),
        metavar="N",
        help="labelled sequences per species to learn from [%(default)s]",
    )
    add(
        "--bin-min-bp",
        type=_positive,
        default=MIN_BIN_BP,
        metavar="BP",
        help=f"shortest contig that is binned [{MIN_BIN_BP}]",
    )
    add("--min-bin-size", type=_positive, default=MIN_BIN_SIZE, metavar="N", help="[10]")
    _add_seed(command)
    _add_out(command, "where to write: a tab-separated table")
    _add_features(command, min_bp=1)


def _add_convert(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("folder", type=Path, help="config.json, pytorch_model.bin and tokenizer.json")
    add("out", type=Path, help="a new folder: config.json, model.safetensors and tokenizer.json")


def _add_table(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--species-table",
        "--table",
        type=Path,
        metavar="TSV",
        help="species of the files [each its own]",
    )


def _add_error_rate(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--error-rate",
        type=_share_or_none,
        default=0.0,
        metavar="SHARE",
        help="of bases wrong, as in long reads: substituted, inserted or deleted 39:24:36 [0]",
    )


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
    one = group.add_mutually_exclusive_group(required=command.prog.endswith((" embed", " eval")))
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


def _share(text: str) -> float:
    """Above 0 and below 1."""
    value = _share_or_none(text)
    if not value:
        raise argparse.ArgumentTypeError(f"is {text!r}, expected a share between 0 and 1")
    return value


def _share_or_none(text: str) -> float:
    """From 0 to below 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"is {text!r}, expected a share from 0 to below 1")
    return value


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
    "train": ("an encoder that learns species from one's own genomes", _add_train),
    "eval": ("how well a model tells known species apart: one table", _add_eval),
    "convert": ("published weights, read strictly, into safetensors", _add_convert),
}
