"""Sweep files as Weights & Biases reads them: methods, parameters, distributions, early stopping.

A file that runs there runs here as it is; an unknown word is an error that names the nearest right
one. Nested `parameters` become names with a dot.

Source: the sweep configuration of Weights & Biases, as documented.
"""

import itertools
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from genomelm_utils.sequences.fasta import suggest

METHODS = ("grid", "random", "bayes")
#: Words of the top level; those after `run_cap` mean nothing here.
TOP = (
    *("method", "name", "metric", "parameters", "early_terminate", "run_cap", "description"),
    *("program", "command", "project", "entity", "controller", "kind", "job", "image_uri"),
)
FIELDS = ("value", "values", "probabilities", "distribution", "min", "max", "mu", "sigma", "q")
FIELDS = (*FIELDS, "a", "b", "parameters")
#: Distribution -> fields it needs (all others but `distribution` are refused).
DISTRIBUTIONS: dict[str, tuple[str, ...]] = {
    "constant": ("value",),
    "categorical": ("values",),
    "categorical_w_probabilities": ("values", "probabilities"),
    "int_uniform": ("min", "max"),
    "uniform": ("min", "max"),
    "q_uniform": ("min", "max", "q"),
    "log_uniform": ("min", "max"),
    "log_uniform_values": ("min", "max"),
    "q_log_uniform": ("min", "max", "q"),
    "q_log_uniform_values": ("min", "max", "q"),
    "inv_log_uniform": ("min", "max"),
    "inv_log_uniform_values": ("min", "max"),
    "normal": ("mu", "sigma"),
    "q_normal": ("mu", "sigma", "q"),
    "log_normal": ("mu", "sigma"),
    "q_log_normal": ("mu", "sigma", "q"),
    "beta": ("a", "b"),
    "q_beta": ("a", "b", "q"),
}
#: Fields that may be left out. Source: their defaults there
DEFAULTS = {"q": 1.0, "mu": 0.0, "sigma": 1.0, "probabilities": None}
_OPTIONAL = {"probabilities": "categorical"}
MAX_BANDS_AT = 10**6


class Hyperband(NamedTuple):
    """Early stopping at `bands` (counts of logged values): see `sweep_stopping`."""

    bands: tuple[int, ...]
    eta: float
    strict: bool


@dataclass(frozen=True)
class Parameter:
    """One parameter and its distribution; `fields` are those of the file, completed."""

    name: str
    distribution: str
    fields: dict[str, Any]

    @property
    def is_constant(self) -> bool:
        """Whether there is nothing to choose."""
        return self.distribution == "constant"

    def choices(self) -> list[Any] | None:
        """All values, for what can be listed (grids need it); None for continuous ones."""
        fields = self.fields
        if self.distribution == "constant":
            return [fields["value"]]
        if self.distribution.startswith("categorical"):
            return list(fields["values"])
        if self.distribution == "int_uniform":
            return list(range(fields["min"], fields["max"] + 1))
        if self.distribution == "q_uniform":
            first, last = (round(fields[end] / fields["q"]) for end in ("min", "max"))
            return [quantise(i * fields["q"], fields["q"]) for i in range(first, last + 1)]
        return None

    def at(self, share: float) -> Any:
        """The value below which `share` (0..1) of the distribution lies."""
        fields = self.fields
        if (listed := self.choices()) is not None and self.distribution != "q_uniform":
            weights = fields.get("probabilities") or [1 / len(listed)] * len(listed)
            below = itertools.accumulate(weights)
            return next((v for v, p in zip(listed, below, strict=True) if share < p), listed[-1])
        kind = self.distribution.removeprefix("q_")
        if kind in ("normal", "log_normal"):
            from scipy.special import ndtri

            z = float(ndtri(min(max(share, 1e-12), 1 - 1e-12)))
            value = fields["mu"] + fields["sigma"] * z
            value = math.exp(value) if kind == "log_normal" else value
        elif kind == "beta":
            from scipy.special import betaincinv

            value = float(betaincinv(fields["a"], fields["b"], share))
        else:
            low, high, is_log = self.bounds()
            value = low + share * (high - low)
            if is_log:
                value = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
        return quantise(value, fields["q"]) if "q" in fields else value

    def bounds(self) -> tuple[float, float, bool]:
        """(low, high, whether it is even in the logarithm) of uniform distributions."""
        low, high = float(self.fields["min"]), float(self.fields["max"])
        kind = self.distribution.removeprefix("q_")
        if kind == "log_uniform":
            return math.exp(low), math.exp(high), True
        if kind == "inv_log_uniform":
            return math.exp(-high), math.exp(-low), True
        return low, high, kind.endswith("log_uniform_values")


@dataclass(frozen=True)
class SweepSpec:
    """A sweep, checked. target: a value of the metric that is good enough, or None."""

    method: str
    metric: str
    maximize: bool
    parameters: tuple[Parameter, ...]
    early: Hyperband | None = None
    target: float | None = None
    run_cap: int | None = None
    name: str = ""

    @property
    def n_grid(self) -> int:
        """Combinations of a grid."""
        return math.prod(len(p.choices() or []) for p in self.parameters)

    def grid(self) -> Iterator[dict[str, Any]]:
        """Every combination by name, the last parameter changing fastest."""
        names = [p.name for p in self.parameters]
        for values in itertools.product(*(p.choices() or [] for p in self.parameters)):
            yield dict(zip(names, values, strict=True))


def read_sweep(source: Path | str | Mapping[str, Any]) -> SweepSpec:
    """The sweep of a JSON file (or of its content).

    Raises: FileNotFoundError; ValueError for invalid JSON (with line and column), unknown words
    (with the nearest right one), and values that do not fit their distribution.
    """
    where = "the sweep"
    if not isinstance(source, Mapping):
        where = str(source)
        source = read_json(source, "a sweep (JSON)")
    if not isinstance(source, Mapping):
        raise ValueError(f"{where} is no JSON object")
    _check_words(source, TOP, where, "word")
    for needed in ("method", "parameters"):
        if needed not in source:
            raise ValueError(f"{where} has no {needed!r}; a sweep needs method and parameters")
    method = source["method"]
    if method not in METHODS:
        near = suggest(str(method), METHODS)
        raise ValueError(
            f"{where}: method is {method!r}{near}, expected one of {', '.join(METHODS)}"
        )
    metric = source.get("metric") or {}
    _check_words(metric, ("name", "goal", "target"), f"{where}: metric", "word")
    goal = metric.get("goal", "minimize")
    if goal not in ("minimize", "maximize"):
        near = suggest(str(goal), ("minimize", "maximize"))
        raise ValueError(f"{where}: metric.goal is {goal!r}{near}, expected minimize or maximize")
    if method == "bayes" and "name" not in metric:
        raise ValueError(f"{where}: method bayes needs metric.name")
    parameters = tuple(_parse_parameters(source["parameters"], where, ""))
    if not parameters:
        raise ValueError(f"{where}: parameters are empty")
    if method == "grid":
        for parameter in parameters:
            if parameter.choices() is None:
                raise ValueError(
                    f"{where}: {parameter.name} is {parameter.distribution}, which a grid cannot "
                    "list; give values, or take method random"
                )
    early = source.get("early_terminate")
    run_cap = source.get("run_cap")
    if run_cap is not None and not (isinstance(run_cap, int) and run_cap > 0):
        raise ValueError(f"{where}: run_cap is {run_cap!r}, expected a whole number above 0")
    return SweepSpec(
        method,
        metric_name(metric.get("name", "eval/f1" if goal == "maximize" else "eval/loss")),
        goal == "maximize",
        parameters,
        None if early is None else _parse_hyperband(early, where),
        metric.get("target"),
        run_cap,
        str(source.get("name", "")),
    )


def metric_name(name: str) -> str:
    """A metric's name without the prefix `eval/` or `eval_`."""
    return name.removeprefix("eval/").removeprefix("eval_")


def quantise(value: float, q: float) -> float | int:
    """The multiple of q that is nearest; whole where q is whole."""
    steps = round(value / q)
    if float(q).is_integer():
        return int(steps * q)
    digits = max(0, -math.floor(math.log10(q)) + 3)
    return round(steps * q, digits)


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """{'a.b': 1} as {'a': {'b': 1}}."""
    out: dict[str, Any] = {}
    for name, value in flat.items():
        *path, last = name.split(".")
        place = out
        for part in path:
            place = place.setdefault(part, {})
        place[last] = value
    return out


def read_json(path: Path | str, what: str) -> Any:
    """The content of a JSON file; text inside that is JSON again is read, too.

    Raises: FileNotFoundError, or ValueError with line and column.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file, expected {what}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return json.loads(content) if isinstance(content, str) else content
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path}, line {error.lineno}, column {error.colno}: no valid JSON ({error.msg})"
        ) from error


def _parse_parameters(given: Any, where: str, prefix: str) -> Iterator[Parameter]:
    if not isinstance(given, Mapping):
        raise ValueError(f"{where}: {prefix or 'parameters'} is {given!r}, expected an object")
    for name, fields in given.items():
        full = f"{prefix}.{name}" if prefix else name
        if not isinstance(fields, Mapping):
            raise ValueError(
                f'{where}: {full} is {fields!r}, expected an object such as {{"value": 1}}'
            )
        _check_words(fields, FIELDS, f"{where}: {full}", "field")
        if "parameters" in fields:
            yield from _parse_parameters(fields["parameters"], where, full)
        else:
            yield _parse_parameter(full, dict(fields), where)


def _parse_parameter(name: str, fields: dict[str, Any], where: str) -> Parameter:
    kind = fields.pop("distribution", None) or _guess_distribution(name, fields, where)
    if kind not in DISTRIBUTIONS:
        raise ValueError(
            f"{where}: {name} has the distribution {kind!r}{suggest(str(kind), DISTRIBUTIONS)}, "
            f"expected one of {', '.join(DISTRIBUTIONS)}"
        )
    needed = DISTRIBUTIONS[kind]
    allowed = {*needed, *(f for f, of in _OPTIONAL.items() if of == kind)}
    if extra := sorted(set(fields) - allowed):
        raise ValueError(
            f"{where}: {name} is {kind} and has {extra[0]!r}, expected {', '.join(needed)}"
        )
    for field in needed:
        if field not in fields and field not in DEFAULTS:
            raise ValueError(f"{where}: {name} is {kind} and lacks {field!r}")
        fields.setdefault(field, DEFAULTS.get(field))
    _check_values(name, kind, fields, where)
    if kind.startswith("categorical") and len(fields["values"]) == 1:
        return Parameter(name, "constant", {"value": fields["values"][0]})
    return Parameter(name, kind, fields)


def _guess_distribution(name: str, fields: Mapping[str, Any], where: str) -> str:
    if "value" in fields:
        return "constant"
    if "values" in fields:
        return "categorical"
    if {"min", "max"} <= set(fields):
        whole = all(type(fields[end]) is int for end in ("min", "max"))
        return "q_uniform" if "q" in fields else "int_uniform" if whole else "uniform"
    if {"mu", "sigma"} <= set(fields):
        return "q_normal" if "q" in fields else "normal"
    raise ValueError(
        f"{where}: {name} has neither value, values, min and max, nor a distribution "
        f"(found: {', '.join(fields) or 'nothing'})"
    )


def _check_values(name: str, kind: str, fields: Mapping[str, Any], where: str) -> None:
    def refuse(found: str, wanted: str) -> None:
        raise ValueError(f"{where}: {name} is {kind} with {found}, expected {wanted}")

    for field in ("min", "max", "mu", "sigma", "q", "a", "b"):
        value = fields.get(field, 0)
        if isinstance(value, bool) or not isinstance(value, int | float):
            refuse(f"{field} {value!r}", "a number")
    for field in ("sigma", "q", "a", "b"):
        if field in fields and not fields[field] > 0:
            refuse(f"{field} {fields[field]!r}", "a number above 0")
    if "min" in fields and not fields["min"] < fields["max"]:
        refuse(f"min {fields['min']!r} and max {fields['max']!r}", "min below max")
    if kind == "int_uniform" and any(fields[end] != int(fields[end]) for end in ("min", "max")):
        refuse(f"min {fields['min']!r} and max {fields['max']!r}", "whole numbers")
    if kind.endswith("log_uniform_values") and not fields["min"] > 0:
        refuse(f"min {fields['min']!r}", "values above 0 (log_uniform takes exponents)")
    if kind.removeprefix("q_") in ("log_uniform", "inv_log_uniform") and fields["max"] > 300:
        refuse(f"max {fields['max']!r}", "exponents of e; log_uniform_values takes the values")
    if kind.startswith("categorical"):
        values, weights = fields["values"], fields.get("probabilities")
        if not isinstance(values, list) or not values:
            refuse(f"values {values!r}", "a list that is not empty")
        if weights is not None and (
            len(weights) != len(values) or min(weights) < 0 or not math.isclose(sum(weights), 1)
        ):
            refuse(f"probabilities {weights!r}", "one per value that sum to 1")


def _parse_hyperband(given: Mapping[str, Any], where: str) -> Hyperband:
    where = f"{where}: early_terminate"
    _check_words(given, ("type", "eta", "strict", "min_iter", "max_iter", "s"), where, "word")
    if given.get("type") != "hyperband":
        raise ValueError(f"{where}.type is {given.get('type')!r}, expected 'hyperband'")
    eta = given.get("eta", 3)
    if not isinstance(eta, int | float) or eta <= 1:
        raise ValueError(f"{where}.eta is {eta!r}, expected a number above 1")
    if "max_iter" in given:
        if "s" not in given:
            raise ValueError(f"{where} has max_iter without s; give both, or min_iter")
        bands = [int(given["max_iter"] / eta**j) for j in range(1, given["s"] + 1)]
    elif "min_iter" in given:
        powers = itertools.takewhile(
            lambda band: band < MAX_BANDS_AT,
            (given["min_iter"] * eta**j for j in itertools.count()),
        )
        bands = [int(band) for band in powers]
    else:
        raise ValueError(f"{where} has neither max_iter (with s) nor min_iter")
    return Hyperband(
        tuple(sorted({band for band in bands if band > 0})), eta, bool(given.get("strict", False))
    )


def _check_words(given: Any, known: tuple[str, ...], where: str, what: str) -> None:
    if not isinstance(given, Mapping):
        raise ValueError(f"{where} is {given!r}, expected an object")
    for word in given:
        if word not in known:
            raise ValueError(f"{where}: unknown {what} {word!r}{suggest(str(word), known)}")
