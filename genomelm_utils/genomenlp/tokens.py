"""Verbs about vocabularies: learned, looked at, compared, pooled, and put beside ids."""

import argparse
from pathlib import Path

from genomelm_utils.genomenlp.options import (
    CASES,
    KINDS,
    MODES,
    PROGRAM,
    SPECIAL_TOKENS,
    add_out,
    whole,
)

VOCAB_SIZE = 32_000  # Source: genomeNLP
MERGES, POOLS = ("inner", "outer"), ("mean", "median", "max", "min")
MAX_BOXES = 200  # rows of the figure; the table has all tokens
_ROW_MM = 4
EXAMPLES = {
    "tokenise_bio": """examples:
  {program} tokenise_bio -i promoter.fasta.gz non_promoter.fasta.gz -t tokeniser.json
  {program} tokenise_bio -i proteins.fa -t tokeniser.json -v 2000
  {program} tokenise_bio -t tokeniser.json -e AACCGGTT""",
    "parse_sp_tokens": """examples:
  {program} parse_sp_tokens tokeniser.json -o lengths/""",
    "compare_empirical_tokens": """examples:
  {program} compare_empirical_tokens chr1.json chr2.json -w token_weights.tsv
  {program} compare_empirical_tokens chr1.json chr2.json -m outer -p mean -t pooled.json""",
    "remap_sp_tokens": """examples:
  {program} remap_sp_tokens hf_out/train.csv train_tokens.csv tokeniser.json""",
}


# --- tokenise_bio --------------------------------------------------------------------------


def add_tokenise_bio(parser: argparse.ArgumentParser) -> None:
    """Options of `tokenise_bio`."""
    add = parser.add_argument
    add("-i", "--infile_paths", type=Path, nargs="+", metavar="FASTA", help="to learn from")
    add(
        *("-t", "--tokeniser_path"),
        type=Path,
        required=True,
        metavar="JSON",
        help="where to write the tokenizer; without -i the one to read",
    )
    add("-v", "--vocab_size", type=whole(6), default=VOCAB_SIZE, help=f"tokens [{VOCAB_SIZE}]")
    add("-b", "--break_size", type=whole(0), default=0, help="letters of a piece [0: whole]")
    add("-c", "--case", choices=CASES, default="upper", help="of the letters [upper]")
    add("-s", "--special_tokens", nargs="+", default=list(SPECIAL_TOKENS), metavar="TOKEN")
    add("-e", "--example_seq", metavar="LETTERS", help="a sequence to cut and show")
    add("--kind", choices=KINDS, default="auto", help="of the letters [auto]")


def tokenise_bio(given: argparse.Namespace) -> list[str]:
    """A tokenizer file, or with -e alone how an existing one cuts."""
    from genomelm_utils.command_outputs import check_outputs, open_output, tell
    from genomelm_utils.tokenizers.unigram import (
        load_unigram,
        save_unigram,
        train_unigram_on_files,
    )

    lines = []
    if given.infile_paths is None:
        tokenizer = load_unigram(given.tokeniser_path)
    else:
        given.out, given.tokeniser_path = given.tokeniser_path, None
        check_outputs(given)
        if given.out.is_file():
            tell(f"{given.out} is there and will be replaced")
        found = train_unigram_on_files(
            given.infile_paths,
            given.vocab_size,
            kind=given.kind,
            case=given.case,
            break_size=given.break_size,
            special_tokens=given.special_tokens,
        )
        tokenizer, counts = found.tokenizer, found._asdict()
        del counts["tokenizer"]
        with open_output(given.out) as output:
            save_unigram(tokenizer, output.path())
            output.write_settings(given, PROGRAM, **counts)
        lines.append(
            f"{given.out}: {found.n_tokens:,} tokens ({found.n_asked:,} asked for) of "
            f"{found.n_letters:,} letters in {found.n_records:,} records"
        )
    return lines + (show_example(tokenizer, given.example_seq) if given.example_seq else [])


def show_example(tokenizer, text: str) -> list[str]:
    """The sequence, its ids, and every id with its token."""
    ids = tokenizer(text).input_ids
    tokens = tokenizer.convert_ids_to_tokens(ids)
    pairs = [f"{index} :: {token}" for index, token in zip(ids, tokens, strict=True)]
    return [text, " ".join(map(str, ids)), *pairs]


# --- parse_sp_tokens -----------------------------------------------------------------------


def add_parse_sp_tokens(parser: argparse.ArgumentParser) -> None:
    """Options of `parse_sp_tokens`."""
    parser.add_argument("tokeniser_path", type=Path, help="a unigram tokenizer (JSON)")
    parser.add_argument(
        *("-o", "--outfile_dir"),
        type=Path,
        default=Path(),
        metavar="FOLDER",
        help="where to write kmer_length_histogram.tsv, .pdf and .png [here]",
    )


def parse_sp_tokens(given: argparse.Namespace) -> list[str]:
    """Tokens of every length, without `▁` and special tokens: a table and a figure."""
    from genomelm_utils.command_outputs import check_outputs, open_output
    from genomelm_utils.figures.style import new_figure
    from genomelm_utils.figures.tokens import plot_token_lengths
    from genomelm_utils.tokenizers.unigram import count_token_lengths, read_tokens

    name = "kmer_length_histogram"
    given.out = given.outfile_dir / f"{name}.tsv"
    check_outputs(given)
    table = count_token_lengths(read_tokens(given.tokeniser_path))
    with open_output(given.out) as output:
        fig, axes = new_figure()
        plot_token_lengths(table, axes[0, 0])
        save_figure(fig, output.folder / f"{name}.pdf", output.folder / f"{name}.png")
        output.write_table(table)
        output.write_settings(given, PROGRAM)
    return [f"{given.out}: {table['n_tokens'].sum()} tokens, {len(table)} lengths"]


def save_figure(fig, *paths: Path) -> None:
    """Write and close a figure; the same data give the same bytes."""
    import matplotlib.pyplot as plt

    for path in paths:
        undated = {"CreationDate": None} if path.suffix == ".pdf" else {}
        fig.savefig(path, dpi=300, metadata=undated)
    plt.close(fig)


# --- compare_empirical_tokens --------------------------------------------------------------


def add_compare_empirical_tokens(parser: argparse.ArgumentParser) -> None:
    """Options of `compare_empirical_tokens`."""
    add = parser.add_argument
    add("infile_paths", type=Path, nargs="+", metavar="JSON", help="unigram tokenizers")
    add(
        *("-t", "--tokeniser_path"),
        dest="pooled",
        type=Path,
        metavar="JSON",
        help="where to write the pooled tokenizer, with -m and -p",
    )
    weights = Path("token_weights.tsv")
    add_out(parser, ("-w", "--token_weight"), f"table of weights [{weights}]", default=weights)
    add("-m", "--merge_strategy", choices=MERGES, help="tokens of all, or of any")
    add("-p", "--pooling_strategy", choices=POOLS, help="of the weights")
    add(
        *("-o", "--outfile_path"),
        dest="figure",
        type=Path,
        metavar="PDF",
        help="where to draw the weights of shared tokens [not drawn]",
    )
    add("--mode", choices=MODES, default="corrected", help="of pooling: one distribution again")


def compare_empirical_tokens(given: argparse.Namespace) -> list[str]:
    """Tokens that vocabularies share, how their weights vary, and one vocabulary made of all."""
    from genomelm_utils.command_outputs import check_outputs, open_output
    from genomelm_utils.tokenizers.compare import compare_tokens, pool_tokens
    from genomelm_utils.tokenizers.unigram import make_layout, read_tokens, write_layout

    wanted = [given.pooled, given.merge_strategy, given.pooling_strategy]
    if any(wanted) and not all(wanted):
        raise ValueError("a pooled tokenizer needs all of -t, -m and -p")
    check_outputs(given)
    check_free([given.pooled, given.figure], given.infile_paths)
    names = [path.name for path in given.infile_paths]
    if len(set(names)) < len(names):
        names = [str(path) for path in given.infile_paths]
    vocabularies = {
        name: read_tokens(path) for name, path in zip(names, given.infile_paths, strict=True)
    }
    sizes, tokens = compare_tokens(vocabularies)
    lines = [f"{row.n_tokens:,} tokens\t{row.vocabulary}" for row in sizes.itertuples()]
    n_outliers = int(tokens["is_outlier"].sum())
    lines.append(f"{n_outliers} of the {len(tokens):,} shared are outliers\t{given.out}")
    with open_output(given.out) as output:
        output.write_table(tokens)
        output.write_settings(given, PROGRAM, sizes=dict(sizes.to_numpy().tolist()))
    if given.figure is not None:
        lines.append(draw_weights(tokens, given.figure))
    if given.pooled is not None:
        strategy = given.merge_strategy, given.pooling_strategy
        words = pool_tokens(vocabularies.values(), *strategy, mode=given.mode)
        write_layout(make_layout(words), given.pooled)
        lines.append(f"{given.pooled}: {len(words) + len(SPECIAL_TOKENS):,} tokens")
    return lines


def check_free(paths: list[Path | None], inputs: list[Path]) -> None:
    """ValueError when one of the files to write is read."""
    read = {path.resolve() for path in inputs}
    for path in paths:
        if path is not None and path.resolve() in read:
            raise ValueError(f"{path} is an input and would be overwritten; give another name")


def draw_weights(tokens, path: Path) -> str:
    """The figure of the weights of shared tokens, those of greatest spread on top."""
    from genomelm_utils.figures.style import new_figure
    from genomelm_utils.figures.tokens import plot_token_weights

    if not len(tokens):
        raise ValueError("the vocabularies share no token: there is nothing to draw")
    shown = tokens.head(MAX_BOXES)
    fig, axes = new_figure(height_mm=15 + _ROW_MM * len(shown))
    plot_token_weights(shown, axes[0, 0])
    path.parent.mkdir(parents=True, exist_ok=True)
    save_figure(fig, path)
    return f"{path}: {len(shown)} of {len(tokens):,} shared tokens"


# --- remap_sp_tokens -----------------------------------------------------------------------


def add_remap_sp_tokens(parser: argparse.ArgumentParser) -> None:
    """Options of `remap_sp_tokens`."""
    parser.add_argument("infile", type=Path, help="a data set (CSV)")
    parser.add_argument("out", type=Path, metavar="outfile", help="where to write: CSV")
    parser.add_argument("tokeniser_path", type=Path, help="the tokenizer it was made with (JSON)")


def remap_sp_tokens(given: argparse.Namespace) -> list[str]:
    """The data set with the column input_str."""
    from genomelm_utils.command_outputs import check_outputs
    from genomelm_utils.datasets.token_reading import add_token_strings
    from genomelm_utils.tokenizers.unigram import read_tokens

    check_outputs(given, ("",))
    tokens = read_tokens(given.tokeniser_path)["token"].tolist()
    n_rows = add_token_strings(given.infile, given.out, tokens)
    return [f"{given.out}: {n_rows:,} rows"]
