"""How a sweep chooses: planned values for grids and random search, Optuna's Gaussian process for
bayes, and when a run is stopped.

Grid and random choices depend on the seed and the number of the run only, so a sweep shared by
several workers tries the same configurations as one worker does.
"""

import math
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from genomelm_utils.tasks.sweep_space import Hyperband, Parameter, SweepSpec

if TYPE_CHECKING:
    import optuna

N_RANDOM_FIRST = 5  # of a bayes sweep, before the process is fitted; ours
_NATIVE = (
    *("uniform", "q_uniform", "log_uniform", "log_uniform_values", "q_log_uniform"),
    *("q_log_uniform_values", "inv_log_uniform", "inv_log_uniform_values"),
)
_QUANTILE = " (quantile)"


def suggest_config(trial: "optuna.Trial", spec: SweepSpec) -> dict[str, Any]:
    """The configuration of a run, flat: {'learning_rate': 0.01, 'model.layers': 2}."""
    return {parameter.name: _suggest(trial, parameter, spec) for parameter in spec.parameters}


def make_sampler(spec: SweepSpec, seed: int, n_before: int) -> "optuna.samplers.BaseSampler":
    """What chooses the next run; n_before: runs there are, which seeds a bayes sweep's choice.

    bayes: Gaussian process with a Matern kernel and expected improvement, as there.
    Source: Optuna's GPSampler; Snoek, Larochelle and Adams 2012 (NeurIPS).
    """
    import optuna

    if spec.method == "bayes":
        return optuna.samplers.GPSampler(
            seed=int(np.random.SeedSequence([seed, n_before]).generate_state(1)[0]),
            n_startup_trials=N_RANDOM_FIRST,
        )
    return _planned_sampler(spec, seed)


def grid_place(number: int, n_grid: int, abandoned: list[tuple[int, int]]) -> int | None:
    """Which combination of a grid run `number` tries; None when all are taken.

    abandoned: (number, place) of runs whose worker died, by number. Run i tries combination i; when
    all are handed out, those of abandoned runs come again.
    """
    if number < n_grid:
        return number
    again = number - n_grid
    return abandoned[again][1] if again < len(abandoned) else None


def should_stop(
    early: Hyperband, values: list[float], others: list[list[float]], maximize: bool
) -> bool:
    """Whether a run is stopped after its last logged value.

    values: of this run so far. others: values of every other run. At a band, the threshold is place
    int(n / eta) of the n values there, best first; a run stops when its best value so far (strict:
    its value at the band) is worse.

    Source: Weights & Biases' hyperband stopping; Li et al. 2018, JMLR 18:185.
    """
    step = len(values)
    if step not in early.bands:
        return False
    sign = 1 if maximize else -1
    here = [sign * run[step - 1] for run in others if len(run) >= step]
    here = sorted([*here, sign * values[-1]], reverse=True)
    threshold = here[min(int(len(here) / early.eta), len(here) - 1)]
    own = sign * values[-1] if early.strict else max(sign * value for value in values)
    return own < threshold


def _suggest(trial: "optuna.Trial", parameter: Parameter, spec: SweepSpec) -> Any:
    fields, name = parameter.fields, parameter.name
    if parameter.is_constant:
        return fields["value"]
    listed = parameter.choices()
    if spec.method == "grid" or parameter.distribution == "categorical":
        if not fields.get("probabilities"):
            # by place where Optuna could not store the values
            plain = all(isinstance(v, str | int | float | bool | None) for v in listed)
            if plain and len({str(v) for v in listed}) == len(listed):
                return trial.suggest_categorical(name, listed)
            return listed[trial.suggest_categorical(name, list(range(len(listed))))]
    elif parameter.distribution == "int_uniform":
        return trial.suggest_int(name, fields["min"], fields["max"])
    elif parameter.distribution in _NATIVE:
        low, high, is_log = parameter.bounds()
        value = trial.suggest_float(name, low, high, log=is_log)
        from genomelm_utils.tasks.sweep_space import quantise

        return quantise(value, fields["q"]) if "q" in fields else value
    return parameter.at(trial.suggest_float(name + _QUANTILE, 0.0, 1.0))


def _planned_sampler(spec: SweepSpec, seed: int) -> "optuna.samplers.BaseSampler":
    import optuna
    from optuna.distributions import CategoricalDistribution, IntDistribution

    class Planned(optuna.samplers.BaseSampler):
        """Values that depend on the seed, the number of the run and the name alone."""

        def infer_relative_search_space(self, study, trial):
            return {}

        def sample_relative(self, study, trial, search_space):
            return {}

        def sample_independent(self, study, trial, param_name, param_distribution):
            choices = getattr(param_distribution, "choices", None)
            if spec.method == "grid":
                place = trial.user_attrs.get("place", trial.number)
                return choices[_grid_index(spec, place, param_name)]
            key = [seed, trial.number, zlib.crc32(param_name.encode())]
            share = float(np.random.default_rng(key).random())
            if isinstance(param_distribution, CategoricalDistribution):
                return choices[int(share * len(choices))]
            low, high = param_distribution.low, param_distribution.high
            if isinstance(param_distribution, IntDistribution):
                return low + int(share * (high - low + 1))
            if param_distribution.log:
                return math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
            return low + share * (high - low)

    return Planned()


def _grid_index(spec: SweepSpec, place: int, name: str) -> int:
    """Which choice of one parameter combination `place` has; the last parameter changes fastest."""
    for parameter in reversed(spec.parameters):
        place, index = divmod(place, len(parameter.choices() or [1]))
        if parameter.name == name:
            return index
    raise AssertionError(name)
