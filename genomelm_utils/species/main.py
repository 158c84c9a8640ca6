"""`python -m genomelm_utils.species`: one's own sequences embedded, sorted, trained on, scored."""

import argparse
import errno
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from genomelm_utils.species.options import MODEL_OPTIONS, build_parser

# the packages that compute are imported when a command needs them: --help is instant
OK, FAILED, USER_ERROR, INTERRUPTED = 0, 1, 2, 130
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
        return _tell_error(given, f"{error}; {_LESS_MEMORY.get(given.command, _LESS)}", FAILED)
    except MemoryError as error:
        what = f" ({error})" if str(error) else ""
        return _tell_error(given, f"out of memory{what}; give fewer sequences at a time", FAILED)
    except KeyboardInterrupt:
        what = "the same command goes on" if given.command == "train" else "nothing was written"
        return _tell_error(given, f"interrupted, {what}", INTERRUPTED)
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return OK


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
