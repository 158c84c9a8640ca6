"""Runs a plan through Snakemake, which orders, parallelises, retries and ships the runs."""

import contextlib
import ctypes
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from genomelm_utils import paths
from genomelm_utils.pipeline import machine
from genomelm_utils.pipeline.graph import Graph, Node, PlanRow
from genomelm_utils.pipeline.inputs import fetch_inputs, registry_hashes
from genomelm_utils.pipeline.receipts import write_json_atomic
from genomelm_utils.pipeline.work import NO_SPACE, Job, describe_full_disk, is_disk_full

SNAKEFILE = Path(__file__).with_name("Snakefile")
LOCAL = "local"
POLL_S = 0.2
STOP_S = 20.0
LOG_END_BYTES = 100_000
REMOTE_JOBS = 100
REMOTE_LATENCY_S = 60  # a shared file system may show a file late


@dataclass(frozen=True)
class Outcome:
    """How a batch ended.

    done, failed   `stage/run` ids; failures `stage/run` -> the lines that explain it
    interrupted    whether somebody stopped it
    engine_error   the end of the engine's log, where Snakemake failed for a reason of its own
    """

    done: list[str]
    failed: list[str]
    failures: dict[str, str]
    interrupted: bool = False
    engine_error: str = ""

    @property
    def ok(self) -> bool:
        """Whether everything ran."""
        return not (self.failed or self.interrupted or self.engine_error)


def engine_dir(profile: str) -> Path:
    """The engine's own folder: plan, jobs, marks, Snakemake's state and log; safe to delete."""
    return paths.runs_dir(profile) / ".engine"


@contextlib.contextmanager
def hold_profile(profile: str) -> Iterator[None]:
    """Let nobody else run this profile meanwhile.

    The lock is the operating system's: it ends with the process that holds it, however it ends.
    Raises ValueError saying who runs the profile since when.
    """
    from filelock import FileLock, Timeout

    folder = engine_dir(profile)
    folder.mkdir(parents=True, exist_ok=True)
    holder = folder / "running.json"
    try:
        with FileLock(folder / "lock", timeout=0):
            now = datetime.now(UTC).isoformat(timespec="seconds")
            about = {"pid": os.getpid(), "host": socket.gethostname(), "since": now}
            write_json_atomic(holder, about)
            yield
    except Timeout as error:
        try:
            about = json.loads(holder.read_text())
            who = f"by process {about['pid']} on {about['host']} since {about['since']}"
        except (OSError, ValueError, KeyError):
            who = "by another process"
        raise ValueError(
            f"profile {profile} is being run {who}; wait for it, or stop that process"
        ) from error


def check_inputs(graph: Graph, rows: list[PlanRow]) -> None:
    """Have every registry file of the stages that will run; see `fetch_inputs`.

    Raises FileNotFoundError naming every file that a selected stage lacks.
    """
    blocked = [graph.nodes[row.id] for row in rows if row.action == "cannot run"]
    lacking = dict.fromkeys(text for node in blocked for text in node.missing.values())
    if lacking:
        raise FileNotFoundError("\n".join(lacking))
    known = registry_hashes()
    needed: dict[str, list[str]] = {}
    for row in rows:
        if row.action == "run":
            node = graph.nodes[row.id]
            for name in node.identity.inputs:
                if name in known:
                    needed.setdefault(name, []).append(node.label)
    fetch_inputs(needed)


def run_plan(
    graph: Graph,
    rows: list[PlanRow],
    *,
    n_jobs: int | None = None,
    executor: str = LOCAL,
    executor_arguments: list[str] | None = None,
    on_poll: Callable[[dict[str, dict[str, Any]]], None] = lambda states: None,
) -> Outcome:
    """Run all rows marked `run`, parents first; the caller holds the profile.

    n_jobs: cores for the local executor (default: all), jobs at once for another (default: 100).
    executor: a Snakemake executor plugin; its own options go into executor_arguments.
    on_poll: called several times a second with `stage/run` -> state.
    """
    names = [row.id for row in rows if row.action == "run"]
    arguments = executor_arguments or []
    folder = write_plan(graph, names, executor=executor, executor_arguments=arguments)
    command = snakemake_command(folder, n_jobs, executor, arguments)
    status, interrupted = _run_command(command, folder, lambda: on_poll(read_states(graph, names)))
    states = read_states(graph, names)
    if not interrupted:
        states |= _explain_lost(graph, states, executor, arguments)
    on_poll(states)
    failed = [name for name, state in states.items() if state["state"] == "failed"]
    done = [name for name, state in states.items() if state["state"] == "done"]
    missing = len(done) < len(names) or status != 0
    return Outcome(
        done=done,
        failed=failed,
        failures={name: states[name].get("lines", "") for name in failed},
        interrupted=interrupted,
        engine_error=_explain_engine(folder) if missing and not failed and not interrupted else "",
    )


def _explain_lost(
    graph: Graph,
    states: dict[str, dict[str, Any]],
    executor: str = LOCAL,
    executor_arguments: Sequence[str] = (),
) -> dict[str, dict[str, Any]]:
    """A failure for each run whose process ended without a word while nobody stopped the batch."""
    found = {}
    for name, state in states.items():
        if state["state"] in ("running", "interrupted"):
            node = graph.nodes[name]
            run_dir = paths.run_dir(graph.profile.name, node.stage, node.run)
            reason = "its process was stopped or killed from outside: memory, or a time limit?"
            if is_disk_full(run_dir) or _log_tells_full_disk(engine_dir(graph.profile.name)):
                reason = describe_full_disk(run_dir)
            resume = resume_command(graph, node, executor, executor_arguments)
            lines = [f"FAILED {node.label}", reason, f"resume: {resume}"]
            found[name] = {**state, "state": "failed", "lines": "\n".join(lines)}
    return found


def write_plan(
    graph: Graph,
    names: list[str],
    *,
    executor: str = LOCAL,
    executor_arguments: Sequence[str] = (),
) -> Path:
    """Write the batch (plan.json and one job file per run) into a clean engine folder."""
    local = executor == LOCAL
    folder = engine_dir(graph.profile.name)
    for old in ("done", "state", "jobs", ".snakemake"):  # a dead engine's lock goes with them
        shutil.rmtree(folder / old, ignore_errors=True)
    n_gpus = len(machine.list_gpus()) if local else 0
    jobs = {}
    for name in names:
        node = graph.nodes[name]
        job_file = folder / "jobs" / f"{name}.json"
        resume = resume_command(graph, node, executor, executor_arguments)
        write_json_atomic(job_file, asdict(_job(graph, node, local, resume)))
        jobs[name] = {
            "job": str(job_file),
            "parents": [parent for parent in node.parent_ids if parent in names],
            "threads": node.resources.threads,
            "resources": {
                "gpu": min(node.resources.gpu, n_gpus) if local else node.resources.gpu,
                "mem_mb": node.resources.mem_mb,
                "runtime": node.resources.runtime_min,
            },
        }
    values = {"python": sys.executable, "retries": graph.profile.retries, "jobs": jobs}
    write_json_atomic(folder / "plan.json", values)
    return folder


def _job(graph: Graph, node: Node, local: bool, resume: str) -> Job:
    data_dir = paths.data_dir()
    profile = graph.profile.name
    return Job(
        root=str(paths.ROOT),
        data_dir=str(data_dir) if data_dir else None,
        profile=profile,
        stage=node.stage,
        run=node.run,
        label=node.label,
        params=node.params,
        parents={name: list(ids) for name, ids in node.parents.items()},
        inputs=list(node.identity.inputs),
        threads=node.resources.threads,
        gpu=node.resources.gpu if local else None,
        resume=resume,
        state_file=str(_state_file(graph, node.id)),
        engine=machine.identify_process() if local else None,
        overrides=list(graph.profile.overrides),
    )


def resume_command(
    graph: Graph, node: Node, executor: str = LOCAL, executor_arguments: Sequence[str] = ()
) -> str:
    """The command that carries on from a run: same profile, data, executor and changed parameters.

    The data folder is named also where GENOMELM_DATA gave it: the next shell may not know it.
    """
    command = ["python", "run_all.py", "run", "--profile", graph.profile.name]
    command += ["--from", node.stage]
    data_dir = paths.data_dir()
    if data_dir:
        command += ["--data-dir", str(data_dir)]
    if executor != LOCAL:
        command += ["--executor", executor]
    for text in graph.profile.overrides:
        command += ["--set", text]
    if executor_arguments:
        command += ["--", *executor_arguments]
    return shlex.join(command)


def _state_file(graph: Graph, name: str) -> Path:
    return engine_dir(graph.profile.name) / "state" / f"{name}.json"


def read_states(graph: Graph, names: list[str]) -> dict[str, dict[str, Any]]:
    """`stage/run` -> {"state": waiting|running|done|failed|interrupted, "time", ...}."""
    states = {}
    for name in names:
        try:
            states[name] = json.loads(_state_file(graph, name).read_text())
        except (OSError, ValueError):
            states[name] = {"state": "waiting"}
    return states


def snakemake_command(
    folder: Path, n_jobs: int | None, executor: str, executor_arguments: list[str]
) -> list[str]:
    """The Snakemake call for a written plan."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(SNAKEFILE)]
    command += ["--directory", str(folder), "--nocolor", "--keep-going", "--ignore-incomplete"]
    # Markers are new in every batch; nothing but the graph shall decide.
    command += ["--rerun-triggers", "input", "--drop-metadata"]
    if executor == LOCAL:
        cores = n_jobs or machine.available_cores()
        gpus = len(machine.list_gpus())
        command += ["--cores", str(cores), "--resources", f"gpu={gpus}", "--scheduler", "greedy"]
    else:
        command += ["--executor", executor, "--jobs", str(n_jobs or REMOTE_JOBS)]
        command += ["--latency-wait", str(REMOTE_LATENCY_S)]
    return command + executor_arguments


def _run_command(command: list[str], folder: Path, on_poll: Callable[[], None]) -> tuple[int, bool]:
    """Run the engine to its end, polling; (status, whether SIGINT or SIGTERM stopped it)."""
    with (folder / "snakemake.log").open("w") as log, _signals_as_interrupt():
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C comes to us alone; we stop it in order
            preexec_fn=_prepare_child,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        try:
            while process.poll() is None:
                on_poll()
                time.sleep(POLL_S)
        except KeyboardInterrupt:
            stop_process(process)
            return process.returncode, True
        except BaseException:
            stop_process(process)
            raise
    return process.returncode, False


def _prepare_child() -> None:
    """Let Snakemake hear SIGINT, its sign to cancel jobs, also below a shell that ignores it.

    On Linux it gets one when run_all.py is killed outright. Running jobs notice that by themselves
    (`execute.watch_engine`).
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.platform == "linux":
        set_parent_death_signal = 1  # PR_SET_PDEATHSIG, linux/prctl.h
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGINT)


@contextlib.contextmanager
def _signals_as_interrupt() -> Iterator[None]:
    """Let SIGTERM end a batch as Ctrl-C does."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def stop_process(process: subprocess.Popen) -> None:
    """Stop Snakemake and everything below it: first politely, then for good."""
    import psutil

    try:
        below = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return
    process.send_signal(signal.SIGINT)
    for child in below:
        with contextlib.suppress(psutil.NoSuchProcess):
            if "genomelm_utils.pipeline.execute" in child.cmdline():
                child.send_signal(signal.SIGTERM)
    _, alive = psutil.wait_procs(below, timeout=STOP_S)
    for child in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _explain_engine(folder: Path, n_lines: int = 20) -> str:
    """The end of the engine's log; below it what a full disk kept from being written."""
    log = folder / "snakemake.log"
    lines = log.read_text(errors="replace").splitlines()[-n_lines:]
    lines.append(f"(all of it: {log})")
    if is_disk_full(folder) or _log_tells_full_disk(folder):
        lines.append(describe_full_disk(folder))
    return "\n".join(lines)


def _log_tells_full_disk(folder: Path) -> bool:
    """Whether the engine, or a run in its last words, found the disk full; it may have room now."""
    with (folder / "snakemake.log").open("rb") as log:
        log.seek(max(0, log.seek(0, os.SEEK_END) - LOG_END_BYTES))
        return NO_SPACE in log.read().decode(errors="replace")
