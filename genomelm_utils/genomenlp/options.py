"""Options that several verbs share, with the checks of their values."""

import argparse
from collections.abc import Callable
from pathlib import Path

# nothing of the packages that compute is imported here: --help is instant
PROGRAM = "genomelm_utils.genomenlp"
KINDS = ("auto", "dna", "rna", "protein")
CASES = ("upper", "lower", "keep")
FORMATS = ("csv", "json", "parquet", "datasets")  # of token data sets
MODES = ("corrected", "reference")  # of a switch: ours, or as released
SPECIAL_TOKENS = ("<s>", "</s>", "<unk>", "<pad>", "<mask>")  # Source: genomeNLP


def add_out(parser: argparse.ArgumentParser, flags: tuple[str, ...], help: str, **more) -> None:
    """Where to write: `given.out`, as `command_outputs` expects; `flags` are those of genomeNLP."""
    parser.add_argument(*flags, "--out", dest="out", type=Path, help=help, **more)


def add_seed(parser: argparse.ArgumentParser) -> None:
    """`--seed`, which genomeNLP does not have."""
    parser.add_argument("--seed", type=whole(0, 2**32 - 1), default=1, help="of all chance [1]")


def whole(low: int, high: int | None = None) -> Callable[[str], int]:
    """A type of argparse: a whole number from `low` to `high`."""

    def parse(text: str) -> int:
        value = int(text) if text.isascii() and text.isdigit() else -1
        if value < low or (high is not None and value > high):
            upto = f"{low} or more" if high is None else f"{low} to {high}"
            raise argparse.ArgumentTypeError(f"is {text!r}, expected a whole number, {upto}")
        return value

    return parse


def share(text: str) -> float:
    """A type of argparse: a number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"is {text!r}, expected a share from 0 to 1")
    return value
