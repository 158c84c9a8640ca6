"""The graph of stages and runs of a profile, and the plan: what has to run, and why."""

import graphlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from genomelm_utils import paths
from genomelm_utils.pipeline.code import hash_notebook
from genomelm_utils.pipeline.inputs import hash_inputs
from genomelm_utils.pipeline.params import Schema
from genomelm_utils.pipeline.profile import (
    DEFAULT_RUN,
    Profile,
    Resources,
    load_profile,
    match_runs,
    match_stage,
    match_stages,
)
from genomelm_utils.pipeline.receipts import Identity, Receipt, load_receipt, missing_outputs
from genomelm_utils.pipeline.work import recover_unlocked


@dataclass(frozen=True)
class Node:
    """One run of one stage.

    params    all parameters; names of runs are expanded (`*` is replaced by what it stands for)
    parents   parameter -> `stage/run` ids it reads
    identity  what the result depends on; `key` is its hash
    missing   input file that is not there -> a sentence on it; such a run cannot be started
    """

    stage: str
    run: str
    params: dict[str, Any]
    parents: dict[str, tuple[str, ...]]
    resources: Resources
    identity: Identity
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """`stage/run`."""
        return f"{self.stage}/{self.run}"

    @property
    def label(self) -> str:
        """The stage, with the run's name where it has one."""
        return self.stage if self.run == DEFAULT_RUN else self.id

    @property
    def key(self) -> str:
        """Hash of everything the run depends on."""
        return self.identity.key

    @property
    def parent_ids(self) -> list[str]:
        """All parents, each once."""
        return list(dict.fromkeys(p for ids in self.parents.values() for p in ids))


@dataclass(frozen=True)
class Graph:
    """All runs of a profile, parents before children, and which of them were asked for."""

    profile: Profile
    nodes: dict[str, Node]
    selected: frozenset[str] = field(default_factory=frozenset)

    @cached_property
    def children(self) -> dict[str, list[str]]:
        """`stage/run` -> the runs that read it."""
        found: dict[str, list[str]] = {name: [] for name in self.nodes}
        for node in self.nodes.values():
            for parent in node.parent_ids:
                found[parent].append(node.id)
        return found

    def ancestors(self, names: Iterable[str]) -> set[str]:
        """The named runs and everything they depend on."""
        return _closure(names, lambda name: self.nodes[name].parent_ids)

    def descendants(self, names: Iterable[str]) -> set[str]:
        """The named runs and everything that depends on them."""
        return _closure(names, lambda name: self.children[name])


@dataclass(frozen=True)
class PlanRow:
    """What happens to one run, and why.

    action  `run`, `skip`, `not selected`, or `cannot run` for want of an input file
    """

    stage: str
    run: str
    action: str
    reason: str

    @property
    def id(self) -> str:
        """`stage/run`."""
        return f"{self.stage}/{self.run}"


def _closure(names: Iterable[str], neighbours: Any) -> set[str]:
    found, waiting = set(), list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += neighbours(name)
    return found


# --- building ------------------------------------------------------------------------------


def build_graph(
    profile: str,
    overrides: Iterable[str] = (),
    only: Iterable[str] = (),
    from_stage: str = "",
    until: str = "",
) -> Graph:
    """The graph of a profile, checked: parameters, runs that exist, no circle.

    An input file that is not there is noted in its run (`Node.missing`): only that run and those
    that read it cannot be started.

    overrides: `--set` texts. only, from_stage, until: stages by number, name or the part after the
    number, each optionally with `/run`; `only` selects just these, `from_stage` these and what
    depends on them, `until` these and what they depend on.
    Raises ValueError or FileNotFoundError with one sentence.
    """
    loaded = load_profile(profile, tuple(overrides))
    params, parents = _link(loaded)
    order = _sort(parents)
    notebooks = {stage: hash_notebook(paths.notebook_file(stage)) for stage in loaded.schemas}
    nodes: dict[str, Node] = {}
    for name in order:
        stage, run = name.split("/")
        inputs, missing = _input_hashes(loaded, stage, run, params[name])
        notebook, modules = notebooks[stage]
        keys = {parent: nodes[parent].key for parent in _flatten(parents[name])}
        identity = Identity(params[name], notebook, modules, inputs, keys)
        nodes[name] = Node(
            stage, run, params[name], parents[name], loaded.resources[stage], identity, missing
        )
    graph = Graph(loaded, nodes)
    return Graph(loaded, nodes, frozenset(_select(graph, list(only), from_stage, until)))


def _link(profile: Profile) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, tuple]]]:
    """`stage/run` -> parameters with run names expanded, and -> parameter -> parent ids."""
    params: dict[str, dict[str, Any]] = {}
    parents: dict[str, dict[str, tuple[str, ...]]] = {}
    for stage, runs in profile.runs.items():
        schema = profile.schemas[stage]
        for run, values in runs.items():
            name = f"{stage}/{run}"
            params[name], parents[name] = dict(values), {}
            for parameter in schema.parameters:
                if parameter.run_of:
                    where = f"params/{profile.name}.yaml: {name}.{parameter.name}"
                    found = _resolve_runs(profile, schema, parameter.name, values, where)
                    parents[name][parameter.name] = tuple(f"{parameter.run_of}/{r}" for r in found)
                    if parameter.is_list:
                        params[name][parameter.name] = found
    return params, parents


def _resolve_runs(
    profile: Profile, schema: Schema, name: str, values: dict[str, Any], where: str
) -> list[str]:
    """Runs a `run of` parameter names; empty text or an empty list means none."""
    parameter = schema.by_name[name]
    names = values[name] if parameter.is_list else [values[name]] if values[name] else []
    runs = list(profile.runs.get(parameter.run_of, {}))
    if not parameter.is_list and any(char in (names or [""])[0] for char in "*?["):
        raise ValueError(f"{where} is {names[0]!r}, expected the name of one run, no pattern")
    if names and not runs and names != ["*"]:
        raise ValueError(
            f"{where} reads {parameter.run_of}, which is not in params/{profile.name}.yaml; "
            f"add `{parameter.run_of}:` there"
        )
    return match_runs(names, runs, where)


def _flatten(parents: dict[str, tuple[str, ...]]) -> list[str]:
    return list(dict.fromkeys(name for names in parents.values() for name in names))


def _sort(parents: dict[str, dict[str, tuple[str, ...]]]) -> list[str]:
    """All runs, parents first; among equals in the order of the stages."""
    sorter = graphlib.TopologicalSorter({n: _flatten(p) for n, p in parents.items()})
    try:
        sorter.prepare()
    except graphlib.CycleError as error:
        circle = " -> ".join(reversed(error.args[1]))
        raise ValueError(
            f"stages depend on each other in a circle: {circle}; change one `run of` line"
        ) from error
    place = {name: i for i, name in enumerate(parents)}
    order: list[str] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), key=place.__getitem__)
        order += ready
        sorter.done(*ready)
    return order


def _input_hashes(
    profile: Profile, stage: str, run: str, params: dict[str, Any]
) -> tuple[dict[str, str], dict[str, str]]:
    """File -> hash of its content, and file -> a sentence for those that are not there."""
    hashes: dict[str, str] = {}
    missing: dict[str, str] = {}
    for parameter in profile.schemas[stage].parameters:
        if parameter.is_data:
            value = params[parameter.name]
            names = value if parameter.is_list else [value]
            where = f"params/{profile.name}.yaml: {stage}/{run}.{parameter.name}"
            for name in filter(None, names):
                try:
                    hashes |= hash_inputs([name], where)
                except FileNotFoundError as error:
                    missing[name] = str(error)
    return hashes, missing


def _select(graph: Graph, only: list[str], from_stage: str, until: str) -> set[str]:
    chosen = set(graph.nodes)
    if only:
        chosen &= {name for text in only for name in _match(graph, text, "--only")}
    if from_stage:
        chosen &= graph.descendants(_match(graph, from_stage, "--from"))
    if until:
        chosen &= graph.ancestors(_match(graph, until, "--until"))
    if not chosen:
        raise ValueError("--only, --from and --until together select no stage; leave one out")
    return chosen


def _match(graph: Graph, text: str, option: str) -> list[str]:
    """The runs that `05`, `fewshot`, `05_fewshot`, `05/run` or, of several stages, `13` means."""
    stages = list(graph.profile.runs)
    stage_text, _, run = text.partition("/")
    where = f"{option} {text}"
    if not run:
        found = match_stages(stage_text, stages, where)
        return [f"{stage}/{name}" for stage in found for name in graph.profile.runs[stage]]
    stage = match_stage(stage_text, stages, where)
    return [f"{stage}/{name}" for name in match_runs([run], list(graph.profile.runs[stage]), where)]


# --- planning ------------------------------------------------------------------------------


def plan(graph: Graph, force: bool = False) -> list[PlanRow]:
    """One row per run in running order: `run` or `skip` with the reason, or `not selected`.

    A run that lacks an input file, and a stale one that reads such a run, are `cannot run`. Results
    that a crash left between their places are put back first.

    force: run everything that is selected.
    Reasons in order of precedence: input missing, no receipt, parameters, notebook code, package
    code, input, parent, outputs missing, forced. Raises ValueError when a selected run needs a
    parent that is neither selected nor up to date, naming the command to run.
    """
    reasons: dict[str, str] = {}
    blocked: set[str] = set()
    rows = []
    for node in graph.nodes.values():
        recover_unlocked(paths.run_dir(graph.profile.name, node.stage, node.run))
        reason = stale_reason(graph.profile.name, node, reasons)
        if not reason and force and node.id in graph.selected:
            reason = "forced"
        above = [parent for parent in node.parent_ids if parent in blocked]
        if node.missing or (reason and above):
            blocked.add(node.id)
            reason = reason if node.missing else f"reads {_shorten(above)}, which cannot run"
        action = "not selected"
        if node.id in graph.selected:
            _check_parents(graph, node, reason, reasons)
            action = "cannot run" if node.id in blocked else "run" if reason else "skip"
        rows.append(PlanRow(node.stage, node.run, action, reason or "up to date"))
        if reason:
            reasons[node.id] = reason
    return rows


def _check_parents(graph: Graph, node: Node, reason: str, reasons: dict[str, str]) -> None:
    if not reason:
        return
    for parent in node.parent_ids:
        if parent in reasons and parent not in graph.selected:
            above = graph.nodes[parent]
            raise ValueError(
                f"{node.label} reads {above.label}, which is not up to date "
                f"({reasons[parent]}); run first: "
                f"python run_all.py run --profile {graph.profile.name} --until {above.stage}"
            )


def stale_reason(profile: str, node: Node, stale: Mapping[str, str]) -> str:
    """Why a run's receipt does not hold, or an empty text where it does.

    stale: `stage/run` -> reason, for the parents that are known to be stale.
    """
    if node.missing:
        return f"input missing ({_shorten(list(node.missing))})"
    folder = paths.run_dir(profile, node.stage, node.run)
    receipt, problem = load_receipt(folder)
    if receipt is None:
        return problem
    change = explain_change(receipt.identity, node.identity)
    if change:
        return _explain_settings(profile, receipt, node) or change
    changed = [parent for parent in node.parent_ids if parent in stale]
    changed += [
        parent
        for parent, results in receipt.parent_results.items()
        if parent not in changed and _results(profile, parent) != results
    ]
    if changed:
        return f"parent ({_shorten(changed)})"
    missing = missing_outputs(folder, receipt)
    return f"outputs missing ({_shorten(missing)})" if missing else ""


def _explain_settings(profile: str, receipt: Receipt, node: Node) -> str:
    """What to say where a run was made with `--set` and the value is not the one of now."""
    names = _changed(receipt.params, node.params)
    set_then = {text.partition("=")[0].strip().rpartition(".")[2] for text in receipt.overrides}
    if not set_then.intersection(names):
        return ""
    told = _shorten([_tell_change(receipt.params, node.params, name) for name in names])
    return f"parameters differ from params/{profile}.yaml (run with --set; {told})"


def _results(profile: str, name: str) -> str:
    receipt = load_receipt(paths.run_dir(profile, *name.split("/")))[0]
    return receipt.results_sha256 if receipt else ""


def explain_change(old: Identity, new: Identity) -> str:
    """The first kind of difference between two identities, in words; empty where they are equal."""
    names = _changed(old.params, new.params)
    if names:
        values = [_tell_change(old.params, new.params, name) for name in names]
        return f"parameters ({_shorten(values)})"
    if old.notebook != new.notebook:
        return "notebook code"
    for kind, before, after in (
        ("package code", old.modules, new.modules),
        ("input", old.inputs, new.inputs),
        ("parent", old.parents, new.parents),
    ):
        names = _changed(before, after)
        if names:
            return f"{kind} ({_shorten(names)})"
    return ""


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    missing = object()
    names = dict.fromkeys([*new, *old])
    return [name for name in names if old.get(name, missing) != new.get(name, missing)]


def _tell_change(old: Mapping[str, Any], new: Mapping[str, Any], name: str) -> str:
    return f"{name}: {_value(old, name)} -> {_value(new, name)}"


def _value(values: Mapping[str, Any], name: str) -> str:
    text = repr(values[name]) if name in values else "unset"
    return text if len(text) <= 40 else f"{text[:37]}..."


def _shorten(names: list[str], limit: int = 4) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
