"""The commands of run_all.py: run, plan, list, verify, diff, report."""

import argparse
import errno
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from genomelm_utils import paths

if TYPE_CHECKING:  # the rest of the room is imported when a command needs it: --help is instant
    from genomelm_utils.pipeline.engine import Outcome
    from genomelm_utils.pipeline.graph import Graph

OK, FAILED, USER_ERROR, INTERRUPTED = 0, 1, 2, 130
EPILOG = """stages are named by number, name or both: 05, fewshot, 05_fewshot, 05_fewshot/one-run
examples:
  python run_all.py run                                   the demo profile: simulated data
  python run_all.py plan --profile small                  what would run, and why
  python run_all.py run --only figures                    draw the figures again
  python run_all.py run --set 04_pretraining.steps=500    change one value
  python run_all.py run --executor slurm -- --slurm-status-command squeue"""


def build_parser() -> argparse.ArgumentParser:
    """The command line's arguments."""
    parser = argparse.ArgumentParser(
        prog="run_all.py",
        description="Run the notebooks of a profile in order, skipping what is unchanged.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, about in (
        ("run", "run what is not up to date, then write the report"),
        ("plan", "say for each stage whether it would run, and why"),
        ("list", "the stages, their runs, and what each last gave"),
        ("verify", "hash the results again and compare tables with expected ranges"),
        ("report", "write the HTML report of what is there"),
    ):
        command = commands.add_parser(name, help=about, description=f"{about}.", epilog=EPILOG)
        command.formatter_class = argparse.RawDescriptionHelpFormatter
        command.add_argument("--profile", default="demo", help="params/<profile>.yaml [demo]")
        command.add_argument("--data-dir", type=Path, help="folder of data files (GENOMELM_DATA)")
        if name in ("run", "plan", "list"):
            _add_selection(command)
        if name == "run":
            _add_engine(command)
    diff = commands.add_parser("diff", help="what differs between two runs, or two profiles")
    diff.add_argument("a", help="a run: profile/stage/run or its folder")
    diff.add_argument("b", help="another one")
    return parser


def _add_selection(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--only", action="append", default=[], metavar="STAGE", help="just these (repeatable)")
    add("--from", dest="from_stage", default="", metavar="STAGE", help="it and what reads it")
    add("--until", default="", metavar="STAGE", help="it and what it reads")
    add("--force", action="store_true", help="also what is up to date, of those selected")
    add("--set", action="append", default=[], metavar="STAGE.KEY=VALUE", help="one parameter")


def _add_engine(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--jobs", type=int, metavar="N", help="cores to use (jobs at once on a cluster) [all]")
    add("--executor", default="local", help="Snakemake executor plugin, such as slurm [local]")
    add("executor_arguments", nargs="*", metavar="-- OPTION", help="options for Snakemake")


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """The command line's arguments; what follows `--` is Snakemake's, and only that.

    Errors: ValueError for words that belong to no option, as in `--only 01 03`.
    """
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    parser, rest = build_parser(), arguments[cut + 1 :]
    given, extra = parser.parse_known_args(arguments[:cut])
    extra = [*getattr(given, "executor_arguments", []), *extra]
    if any(word.startswith("-") for word in extra):
        parser.error(f"unrecognized arguments: {' '.join(extra)}")
    if extra:
        remedy = "options for Snakemake stand after --"
        if given.command in ("run", "plan", "list"):
            again = " ".join(f"--only {word}" for word in [*given.only, *extra])
            remedy = f"to name several stages repeat --only ({again}); {remedy}"
        raise ValueError(f"{' '.join(extra)}: belongs to no option of {given.command}; {remedy}")
    if rest and given.command != "run":
        raise ValueError(f"-- {' '.join(rest)}: only run takes options for Snakemake")
    given.executor_arguments = rest
    return given


def main(arguments: list[str] | None = None) -> int:
    """Run a command; status 0 well, 1 a stage failed, 2 the request was wrong, 130 interrupted.

    An error of the user is one sentence on standard error, never a traceback.
    """
    try:
        given = parse_arguments(sys.argv[1:] if arguments is None else arguments)
        if getattr(given, "data_dir", None):
            os.environ["GENOMELM_DATA"] = str(given.data_dir.expanduser().resolve())
        folder = paths.data_dir()
        if folder and not folder.is_dir():
            raise FileNotFoundError(f"the data folder {folder} (GENOMELM_DATA) does not exist")
        status = COMMANDS[given.command](given)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # whoever read has enough: `run_all.py list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at the end
        return 1
    except (ValueError, FileNotFoundError) as error:
        sys.stderr.write(f"run_all.py: {error}\n")
        return USER_ERROR
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        sys.stderr.write(f"run_all.py: {_describe_full_disk(given)}\n")
        return FAILED
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return INTERRUPTED


def _describe_full_disk(given: argparse.Namespace) -> str:
    from genomelm_utils.pipeline.work import describe_full_disk

    return describe_full_disk(paths.runs_dir(given.profile))


def _graph(given: argparse.Namespace) -> "Graph":
    from genomelm_utils.pipeline.graph import build_graph

    only = [part for text in given.only for part in text.split(",")]
    return build_graph(given.profile, given.set, only, given.from_stage, given.until)


def run(given: argparse.Namespace) -> int:
    """Run what is stale, show it, write the report."""
    from genomelm_utils.pipeline import engine
    from genomelm_utils.pipeline.graph import plan
    from genomelm_utils.pipeline.progress import Progress

    if given.jobs is not None and given.jobs < 1:
        raise ValueError(f"--jobs is {given.jobs}, expected 1 or more")
    graph = _graph(given)
    with engine.hold_profile(given.profile):
        rows = plan(graph, given.force)
        names = [row.id for row in rows if row.action == "run"]
        n_skipped = sum(row.action == "skip" for row in rows)
        engine.check_inputs(graph, rows)
        if not names:
            sys.stdout.write(f"profile {given.profile}: all {n_skipped} runs are up to date\n")
            return OK if _report_is_current(given.profile) else _write_report(given.profile)
        sys.stdout.write(f"profile {given.profile}: {len(names)} to run, {n_skipped} up to date\n")
        labels = {name: graph.nodes[name].label for name in names}
        with Progress(labels, sys.stdout) as progress:
            outcome = engine.run_plan(
                graph,
                rows,
                n_jobs=given.jobs,
                executor=given.executor,
                executor_arguments=given.executor_arguments,
                on_poll=progress.update,
            )
        report_status = _write_report(given.profile)
    if outcome.interrupted:
        sys.stderr.write("interrupted; the same command carries on\n")
        return INTERRUPTED
    return _tell_outcome(outcome) or report_status


def _tell_outcome(outcome: "Outcome") -> int:
    """Print failures, the first one last: the final three lines say where, what and the remedy."""
    if outcome.ok:
        return OK
    if outcome.engine_error:
        sys.stderr.write(f"Snakemake stopped:\n{outcome.engine_error}\n")
    for name in reversed(outcome.failed):
        sys.stderr.write(f"{outcome.failures[name]}\n")
    return FAILED


def _report_is_current(profile: str) -> bool:
    """Whether there is a report that was written after the newest receipt."""
    from genomelm_utils.pipeline.receipts import RECEIPT_NAME, run_folders

    index = paths.report_dir(profile) / "index.html"
    if not index.is_file():
        return False
    receipts = (folder / RECEIPT_NAME for folder in run_folders(profile))
    times_ns = (receipt.stat().st_mtime_ns for receipt in receipts if receipt.is_file())
    return index.stat().st_mtime_ns >= max(times_ns, default=0)


def _write_report(profile: str) -> int:
    """Write the report; a report that cannot be written is told, and fails the command."""
    from genomelm_utils.pipeline.report import build_report

    try:
        index = build_report(profile)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"the report could not be written: {error}\n")
        return FAILED
    sys.stdout.write(f"report: {index}\n")
    return OK


def plan_command(given: argparse.Namespace) -> int:
    """Print one line per run: what would happen, and why."""
    from genomelm_utils.pipeline.graph import plan

    graph = _graph(given)
    rows = plan(graph, given.force)
    width = max(len(graph.nodes[row.id].label) for row in rows)
    for row in rows:
        label = graph.nodes[row.id].label
        sys.stdout.write(f"{label:<{width}}  {row.action:<12}  {row.reason}\n")
    n_run = sum(row.action == "run" for row in rows)
    n_blocked = sum(row.action == "cannot run" for row in rows)
    blocked = f", {n_blocked} cannot" if n_blocked else ""
    sys.stdout.write(f"{n_run} of {len(rows)} would run{blocked}\n")
    return OK


def list_command(given: argparse.Namespace) -> int:
    """Print the stages of the project and the runs that the profile has of them."""
    from genomelm_utils.pipeline.params import notebook_title
    from genomelm_utils.pipeline.progress import format_duration
    from genomelm_utils.pipeline.receipts import load_receipt
    from genomelm_utils.pipeline.work import recover_unlocked

    graph = _graph(given)
    for file in paths.notebook_files():
        nodes = [node for node in graph.nodes.values() if node.stage == file.stem]
        note = "" if nodes else f"  (not in profile {given.profile})"
        sys.stdout.write(f"{file.stem}: {notebook_title(file)}{note}\n")
        for node in nodes:
            folder = paths.run_dir(given.profile, node.stage, node.run)
            recover_unlocked(folder)
            receipt, problem = load_receipt(folder)
            if receipt:
                took = format_duration(receipt.wall_s)
                problem = f"{receipt.ended}, {took}, {receipt.peak_memory_mib:.0f} MiB"
            if node.missing:
                problem += f"; input missing ({', '.join(node.missing)}), cannot run"
            sys.stdout.write(f"    {node.run}: {problem}\n")
    return OK


def verify_command(given: argparse.Namespace) -> int:
    """Print what `verify_profile` found; status 1 where something does not hold."""
    from genomelm_utils.pipeline.verify import verify_profile

    text, ok = verify_profile(given.profile)
    sys.stdout.write(f"{text.rstrip()}\n")
    return OK if ok else FAILED


def diff_command(given: argparse.Namespace) -> int:
    """Print what differs between two runs."""
    from genomelm_utils.pipeline.diff import diff_runs

    sys.stdout.write(f"{diff_runs(given.a, given.b).rstrip()}\n")
    return OK


def report_command(given: argparse.Namespace) -> int:
    """Write the report and print where it is."""
    return _write_report(given.profile)


COMMANDS = {
    "run": run,
    "plan": plan_command,
    "list": list_command,
    "verify": verify_command,
    "diff": diff_command,
    "report": report_command,
}
