"""A profile: one file in params/ that says which stages run, with which values and resources."""

import fnmatch
import itertools
import re
from dataclasses import dataclass, field, replace
from typing import Any

from genomelm_utils import paths
from genomelm_utils.pipeline.checks import check_run
from genomelm_utils.pipeline.params import Schema, check_params, nearest, read_schema
from genomelm_utils.pipeline.yaml_text import load_yaml

PROFILE_KEYS = ("description", "retries", "resources")
STAGE_KEYS = ("runs", "matrix", "common", "resources")
RUN_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._+=-]*$")
DEFAULT_RUN = "default"


@dataclass(frozen=True)
class Resources:
    """What one stage asks of the machine; it never counts as a change of the stage.

    threads      cores it uses, also for BLAS and torch
    mem_mb       memory, MB (used by cluster executors)
    runtime_min  longest time, minutes (used by cluster executors)
    gpu          GPUs it uses where there are any
    """

    threads: int = 1
    mem_mb: int = 4000
    runtime_min: int = 240
    gpu: int = 0


@dataclass(frozen=True)
class Profile:
    """A parameter file, read, expanded and checked against the notebooks.

    overrides  the `--set` texts that were applied
    runs       stage -> run -> all parameters of the run (defaults of the notebook filled in)
    resources  stage -> resources
    """

    name: str
    description: str
    retries: int
    overrides: tuple[str, ...]
    schemas: dict[str, Schema]
    runs: dict[str, dict[str, dict[str, Any]]]
    resources: dict[str, Resources] = field(default_factory=dict)


def load_profile(name: str, overrides: tuple[str, ...] = ()) -> Profile:
    """Read `params/<name>.yaml`, apply `--set` texts, expand runs, check values and how they fit.

    The file maps a stage to its parameters, or to `runs:` (run name -> parameters) or `matrix:`
    (parameter -> values, all combinations), each with an optional `common:`. `resources:` beside
    them is for the engine. The `profile:` block holds `description`, `retries`, `resources`, and
    values that hold for every stage whose notebook declares that name, such as `seed`. A stage that
    is not in the file is not part of the profile.

    overrides: texts such as `04_pretraining.steps=100`, `04_pretraining/genemask.steps=100` or
        `profile.seed=2`; the value is YAML.
    """
    file = paths.params_file(name)
    source = f"params/{file.name}"
    if not file.is_file():
        known = sorted(p.stem for p in paths.params_dir().glob("*.yaml"))
        profiles = ", ".join(known) or "none (params/ is empty)"
        raise FileNotFoundError(
            f"{source}: no such profile, expected one of {profiles}{nearest(name, known)}"
        )
    content = load_yaml(file.read_text(encoding="utf-8"), source) or {}
    if not isinstance(content, dict):
        raise ValueError(f"{source}: expected stages and their parameters, found {content!r}")
    block = _block(content.pop("profile", None), f"{source}: profile")
    stages = {stage: _block(value, f"{source}: {stage}") for stage, value in content.items()}
    schemas = {stage: _schema(stage, source) for stage in sorted(stages)}
    settings = _parse_overrides(overrides, schemas)
    shared = _shared_values(block, settings.pop("profile", {}), schemas, source)
    return Profile(
        name=name,
        description=str(block.get("description", "")),
        retries=_natural(block.get("retries", 0), f"{source}: profile.retries"),
        overrides=overrides,
        schemas=schemas,
        runs={
            stage: _expand(stages[stage], schema, shared, settings, stage, source)
            for stage, schema in schemas.items()
        },
        resources={
            stage: _resources(block, stages[stage], f"{source}: {stage}") for stage in schemas
        },
    )


def _block(value: Any, where: str) -> dict[str, Any]:
    if value is not None and not isinstance(value, dict):
        raise ValueError(f"{where} is {value!r}, expected `name: value` lines below it")
    return dict(value or {})


def _schema(stage: str, source: str) -> Schema:
    known = [file.stem for file in paths.notebook_files()]
    if stage not in known:
        raise ValueError(
            f"{source}: {stage} is not a stage (no notebooks/{stage}.ipynb)"
            f"{nearest(stage, known) or '; stages are ' + ', '.join(known)}"
        )
    return read_schema(paths.notebook_file(stage))


def _natural(value: Any, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{where} is {value!r}, expected an integer, 0 or more")
    return value


def _resources(block: dict[str, Any], stage: dict[str, Any], where: str) -> Resources:
    asked = {
        **_block(block.get("resources"), f"{where}.resources"),
        **_block(stage.get("resources"), f"{where}.resources"),
    }
    known = Resources.__dataclass_fields__
    for key, value in asked.items():
        if key not in known:
            raise ValueError(
                f"{where}.resources.{key} is unknown, expected one of {', '.join(known)}"
                f"{nearest(key, known)}"
            )
        _natural(value, f"{where}.resources.{key}")
    return replace(Resources(), **asked)


def _shared_values(
    block: dict[str, Any], settings: dict[str, Any], schemas: dict[str, Schema], source: str
) -> dict[str, tuple[Any, str]]:
    """Name -> (value, where it stands) for the values of the `profile:` block."""
    given = {
        key: (value, f"{source}: profile")
        for key, value in block.items()
        if key not in PROFILE_KEYS
    }
    given |= {key: (value, "--set profile") for key, value in settings.items()}
    declared = {name for schema in schemas.values() for name in schema.by_name}
    for key, (_, where) in given.items():
        if key not in declared:
            hint = nearest(key, [*PROFILE_KEYS, *sorted(declared)])
            raise ValueError(f"{where}.{key} is not a parameter of any stage here{hint}")
    return given


def _expand(
    block: dict[str, Any],
    schema: Schema,
    shared: dict[str, tuple[Any, str]],
    settings: dict[str, dict[str, Any]],
    stage: str,
    source: str,
) -> dict[str, dict[str, Any]]:
    """Run name -> all parameters of that run of one stage, checked."""
    base = dict(schema.defaults)
    for name, (value, where) in shared.items():
        if name in schema.by_name:
            base |= check_params(schema, {name: value}, where)
    runs = {}
    for run, values in _given_runs(block, schema, f"{source}: {stage}").items():
        _check_run_name(run, f"{source}: {stage}")
        runs[run] = base | check_params(schema, values, _where(source, stage, run))
    for target in (stage, *(f"{stage}/{run}" for run in runs)):
        changed = check_params(schema, settings.pop(target, {}), f"--set {target}")
        for run in runs:
            if target in (stage, f"{stage}/{run}"):
                runs[run] |= changed
    unknown = [target for target in settings if target.split("/")[0] == stage]
    if unknown:
        raise ValueError(
            f"--set {unknown[0]}: {stage} has no such run, it has {', '.join(runs)}"
            f"{nearest(unknown[0].partition('/')[2], runs)}"
        )
    for run, values in runs.items():
        check_run(stage, values, _where(source, stage, run))
    return runs


def _where(source: str, stage: str, run: str) -> str:
    return f"{source}: {stage if run == DEFAULT_RUN else f'{stage}/{run}'}"


def _given_runs(block: dict[str, Any], schema: Schema, where: str) -> dict[str, dict[str, Any]]:
    """Run name -> values as the file gives them (plain, `runs:` or `matrix:`)."""
    block = {key: value for key, value in block.items() if key != "resources"}
    if "runs" not in block and "matrix" not in block:
        return {DEFAULT_RUN: block}
    odd = [key for key in block if key not in STAGE_KEYS]
    if odd or ("runs" in block and "matrix" in block):
        raise ValueError(
            f"{where}: expected either plain parameters, or `runs:` or `matrix:` with `common:`, "
            f"found {', '.join(block)}; move {', '.join(odd) or 'one of them'} below common:"
        )
    common = _block(block.get("common"), f"{where}.common")
    if "runs" in block:
        runs = _block(block["runs"], f"{where}.runs")
        given = {run: common | _block(v, f"{where}/{run}") for run, v in runs.items()}
    else:
        given = _matrix_runs(_block(block["matrix"], f"{where}.matrix"), common, where)
    if not given:
        raise ValueError(f"{where}: has no runs; name at least one, or remove the stage")
    return given


def _matrix_runs(
    matrix: dict[str, Any], common: dict[str, Any], where: str
) -> dict[str, dict[str, Any]]:
    """All combinations, named by their values joined with `-`."""
    for key, values in matrix.items():
        if not isinstance(values, list) or not values:
            raise ValueError(f"{where}.matrix.{key} is {values!r}, expected a list of values")
    runs: dict[str, dict[str, Any]] = {}
    for values in itertools.product(*matrix.values()):
        run = "-".join(_value_name(value) for value in values)
        if run in runs:
            raise ValueError(f"{where}.matrix gives the run {run} twice; use `runs:` to name them")
        runs[run] = common | dict(zip(matrix, values, strict=True))
    return runs


def _value_name(value: Any) -> str:
    if isinstance(value, list):
        return "+".join(map(_value_name, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _check_run_name(run: str, where: str) -> None:
    if not RUN_NAME.match(run) or run.endswith((".partial", ".failed", ".old")):
        raise ValueError(
            f"{where}: the run name {run!r} cannot be a folder, expected letters, digits and "
            ". _ + = - (use `runs:` to name the runs of a matrix)"
        )


# --- names of stages and runs on the command line -------------------------------------------


def _parse_overrides(texts: tuple[str, ...], schemas: dict[str, Schema]) -> dict[str, Any]:
    """`stage` or `stage/run` or `profile` -> {parameter: value} from `--set` texts."""
    found: dict[str, dict[str, Any]] = {}
    for text in texts:
        target, equals, value = text.partition("=")
        stage_run, dot, key = target.strip().rpartition(".")
        if not (equals and dot and key):
            raise ValueError(f"--set {text}: expected stage.parameter=value")
        stage, slash, run = stage_run.partition("/")
        if stage != "profile":
            stage = match_stage(stage, list(schemas), f"--set {text}")
        found.setdefault(stage + slash + run, {})[key] = load_yaml(value, f"--set {text}")
    return found


def match_stages(text: str, stages: list[str], where: str) -> list[str]:
    """The stages meant by `05_fewshot`, `05`, `5` or `fewshot`; several by `13` or `figures`.

    Raises ValueError naming the stages there are, when it means none.
    """
    number = text.zfill(2) if text.isdigit() else ""
    exact = [s for s in stages if text in (s, s.partition("_")[2])]
    group = [
        s
        for s in stages
        if s.startswith(f"{number}_") or s.partition("_")[2].startswith(f"{text}_")
    ]
    if found := exact or group:
        return found
    names = [*stages, *(stage.partition("_")[2] for stage in stages)]
    raise ValueError(
        f"{where}: {text} is not a stage of this profile, expected one of {', '.join(stages)}"
        f"{nearest(text, names)}"
    )


def match_stage(text: str, stages: list[str], where: str) -> str:
    """The one stage that `match_stages` finds. Raises ValueError for none and for several."""
    found = match_stages(text, stages, where)
    if len(found) > 1:
        raise ValueError(
            f"{where}: {text} means several stages, expected one of {', '.join(found)}"
        )
    return found[0]


def match_runs(names: list[str], runs: list[str], where: str) -> list[str]:
    """The runs that names stand for: `*` and other patterns match; a name must exist."""
    found: list[str] = []
    for name in names:
        matched = [run for run in runs if fnmatch.fnmatchcase(run, name)]
        if not matched and name != "*":
            raise ValueError(
                f"{where} names the run {name!r}, expected one of "
                f"{', '.join(runs) or 'none (the stage has no runs in this profile)'}"
                f"{nearest(name, runs)}"
            )
        found += matched
    return list(dict.fromkeys(found))
