"""`python -m genomelm_utils.genomenlp VERB`: genomeNLP's verbs on one's own sequences."""

import argparse
import importlib
import sys
from difflib import get_close_matches
from functools import partial
from types import ModuleType

from genomelm_utils.command_errors import USER_ERROR, run_command
from genomelm_utils.genomenlp import VERBS
from genomelm_utils.genomenlp.options import PROGRAM

# the packages that compute are imported when a verb needs them: --help is instant
ABOUT = """Sequences cut into learned words, data sets of them, models that classify them.
Verbs and their short options are those of genomeNLP; nothing needs an account or the network.
Beside a result X: X.json (settings, versions, hashes of inputs, what came out)."""
#: Loggers that tell of records left out, which every verb counts and names itself.
READERS = (".stream", ".fasta", ".letters")


def main(arguments: list[str] | None = None) -> int:
    """Run a verb; status 0 well, 1 no space or memory, 2 the request was wrong, 130 interrupted.

    Results are files, with a few lines on standard output; an error of the user is one sentence on
    standard error, never a traceback.
    """
    asked = list(sys.argv[1:] if arguments is None else arguments)
    name = asked[0] if asked else "--help"
    if name in ("-h", "--help"):
        sys.stdout.write(describe_verbs())
        return 0
    if name not in VERBS:
        near = get_close_matches(name, VERBS, n=1)
        hint = f"did you mean {near[0]}?" if near else "--help lists the verbs"
        sys.stderr.write(f"{PROGRAM}: no verb {name!r}; {hint}\n")
        return USER_ERROR
    module = find_module(name)
    given = build_parser(name, module).parse_args(asked[1:])
    given.argv = asked
    return run_command(name, partial(getattr(module, name), given), readers=READERS)


def describe_verbs() -> str:
    """What `--help` prints: every verb with half a line."""
    width = max(map(len, VERBS))
    lines = [f"  {name:<{width}}  {verb.about}" for name, verb in VERBS.items()]
    usage = f"usage: python -m {PROGRAM} [-h] VERB ..."
    last = f"python -m {PROGRAM} VERB --help shows the options of a verb, with examples"
    return "\n".join([usage, "", ABOUT, "", "verbs:", *lines, "", last, ""])


def find_module(name: str) -> ModuleType:
    """The module of a verb; only that one is imported."""
    return importlib.import_module(f"genomelm_utils.genomenlp.{VERBS[name].module}")


def build_parser(name: str, module: ModuleType) -> argparse.ArgumentParser:
    """The arguments of one verb; its examples are what `EXAMPLES[verb]` of the module says."""
    about = VERBS[name].about
    parser = argparse.ArgumentParser(
        prog=f"python -m {PROGRAM} {name}",
        description=f"{about[0].upper()}{about[1:]}.",
        epilog=module.EXAMPLES[name].format(program=f"python -m {PROGRAM}"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    getattr(module, f"add_{name}")(parser)
    return parser
