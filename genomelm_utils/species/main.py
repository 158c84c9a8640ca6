"""`python -m genomelm_utils.species`: one's own sequences embedded, sorted, trained on, scored."""

import argparse
import sys
from collections.abc import Callable
from functools import partial

from genomelm_utils.command_errors import NOTHING_WRITTEN, run_command
from genomelm_utils.species.options import MODEL_OPTIONS, build_parser

# the packages that compute are imported when a command needs them: --help is instant
_LESS = "take a smaller --window-bp or --device cpu"
_LESS_MEMORY = {
    "train": "take shorter --lengths-bp or a smaller --preset",
    "convert": "free memory",
}
#: Loggers that tell of records left out, which every command counts and names itself.
READERS = (".stream", ".fasta", ".genome", ".species_contigs", ".species_pairs", "_pair_files")


def main(arguments: list[str] | None = None) -> int:
    """Run a command; status 0 well, 1 no space or memory, 2 the request was wrong, 130 interrupted.

    Results are files, with a few lines on standard output; an error of the user is one sentence on
    standard error, never a traceback.
    """
    given = build_parser().parse_args(arguments)
    given.argv = list(sys.argv[1:] if arguments is None else arguments)
    goes_on = given.command == "train"
    return run_command(
        given.command,
        partial(_run, given),
        less_memory=_LESS_MEMORY.get(given.command, _LESS),
        interrupted="the same command goes on" if goes_on else NOTHING_WRITTEN,
        readers=READERS,
    )


def _run(given: argparse.Namespace) -> list[str]:
    from genomelm_utils.command_outputs import check_outputs

    check_outputs(given)
    if hasattr(given, "features"):
        _settle_model_options(given)
    return _find_command(given.command)(given)


def _find_command(name: str) -> Callable[[argparse.Namespace], list[str]]:
    """What does a command; only what it needs is imported."""
    if name == "train":
        from genomelm_utils.species.train import train

        return train
    if name == "convert":
        from genomelm_utils.species.convert import convert

        return convert
    from genomelm_utils.species import binning, commands, eval, genomes

    return {
        "embed": commands.embed,
        "cluster": commands.cluster,
        "classify": commands.classify,
        "bin": binning.bin_file,
        "eval": eval.evaluate,
        "make-pairs": genomes.make_pairs,
    }[name]


def _settle_model_options(given: argparse.Namespace) -> None:
    """Defaults where there is a model; without one ValueError for options that would do nothing."""
    asked = [name for name in MODEL_OPTIONS if getattr(given, name) is not None]
    if asked and given.model is None:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in asked)
        strands = "; --features canonical_tnf counts both strands" if "strands" in asked else ""
        raise ValueError(f"only a --model uses {options}: leave that out, or give one{strands}")
    for name in set(MODEL_OPTIONS) - set(asked):
        setattr(given, name, MODEL_OPTIONS[name] if given.model is not None else None)
