"""Sweep files: every distribution, defaults, and errors that name the nearest right word."""

import json
import math

import numpy as np
import pytest

from genomelm_utils.tasks.sweep_space import DISTRIBUTIONS, metric_name, nest, read_sweep

RELEASED = {
    "name": "random",
    "method": "random",
    "metric": {"name": "eval/f1", "goal": "maximize"},
    "parameters": {
        "epochs": {"values": [1, 2, 3, 4, 5]},
        "batch_size": {"values": [8, 16, 32, 64]},
        "learning_rate": {"distribution": "log_uniform_values", "min": 1e-5, "max": 1e-1},
        "weight_decay": {"values": [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]},
        "decay": {"values": [1e-5, 1e-6]},
        "momentum": {"value": 0.9},
    },
    "early_terminate": {"type": "hyperband", "s": 2, "eta": 3, "max_iter": 27},
}


def one(**fields):
    """The parameter of a random sweep with these fields."""
    return read_sweep({"method": "random", "parameters": {"x": fields}}).parameters[0]


def test_a_released_sweep_is_read_as_it_is(tmp_path):
    file = tmp_path / "sweep.json"
    file.write_text(json.dumps(RELEASED))
    spec = read_sweep(file)
    assert (spec.method, spec.metric, spec.maximize) == ("random", "f1", True)
    assert spec.early.bands == (3, 9)
    kinds = {p.name: p.distribution for p in spec.parameters}
    assert kinds["learning_rate"] == "log_uniform_values"
    assert kinds["epochs"] == "categorical" and kinds["momentum"] == "constant"
    assert spec == read_sweep(RELEASED)


@pytest.mark.parametrize(
    ("given", "bands"),
    [
        ({"max_iter": 27, "s": 2, "eta": 3}, (3, 9)),
        ({"max_iter": 5, "s": 2, "eta": 2}, (1, 2)),
        ({"min_iter": 2, "eta": 3}, (2, 6, 18, 54)),
        ({"max_iter": 27, "s": 2}, (3, 9)),
    ],
)
def test_golden_bands_of_hyperband(given, bands):
    spec = read_sweep({**RELEASED, "early_terminate": {"type": "hyperband", **given}})
    assert spec.early.bands[: len(bands)] == bands
    assert ("max_iter" not in given) or spec.early.bands == bands


def test_defaults_of_a_parameter():
    assert one(min=1, max=5).distribution == "int_uniform"
    assert one(min=1, max=5.0).distribution == "uniform"
    assert one(value=None).fields == {"value": None}
    assert one(values=[3]).distribution == "constant"
    assert one(distribution="normal").fields == {"mu": 0.0, "sigma": 1.0}
    assert read_sweep({"method": "random", "parameters": {"x": {"value": 1}}}).metric == "loss"


#: Distribution -> (fields, quantile 0.25 and 0.5 by hand).
QUARTERS = {
    "constant": ({"value": 7}, 7, 7),
    "categorical": ({"values": ["a", "b", "c", "d"]}, "b", "c"),
    "categorical_w_probabilities": (
        {"values": ["a", "b"], "probabilities": [0.4, 0.6]}, "a", "b",
    ),
    "int_uniform": ({"min": 1, "max": 4}, 2, 3),
    "uniform": ({"min": 2.0, "max": 4.0}, 2.5, 3.0),
    "q_uniform": ({"min": 0, "max": 10, "q": 2.0}, 2, 4),
    "log_uniform": ({"min": 0.0, "max": 2.0}, math.exp(0.5), math.e),
    "log_uniform_values": ({"min": 1e-4, "max": 1.0}, 1e-3, 1e-2),
    "q_log_uniform": ({"min": 0.0, "max": math.log(100)}, 3, 10),
    "q_log_uniform_values": ({"min": 1, "max": 100, "q": 0.5}, 3.0, 10.0),
    "inv_log_uniform": ({"min": 0.0, "max": 2.0}, math.exp(-1.5), math.exp(-1)),
    "inv_log_uniform_values": ({"min": 1e-4, "max": 1.0}, 1e-3, 1e-2),
    "normal": ({"mu": 1.0, "sigma": 2.0}, 1 - 2 * 0.67449, 1.0),
    "q_normal": ({"mu": 10.0, "sigma": 4.0}, 7, 10),
    "log_normal": ({"mu": 1.0, "sigma": 2.0}, math.exp(1 - 2 * 0.67449), math.e),
    "q_log_normal": ({"mu": 3.0, "sigma": 0.1}, 19, 20),
    "beta": ({"a": 1.0, "b": 1.0}, 0.25, 0.5),
    "q_beta": ({"a": 1.0, "b": 1.0, "q": 0.2}, 0.2, 0.4),
}  # fmt: skip


def test_every_distribution_is_tried():
    assert set(QUARTERS) == set(DISTRIBUTIONS)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_quantiles_by_hand(name):
    fields, quarter, half = QUARTERS[name]
    parameter = one(distribution=name, **fields)
    found = parameter.at(0.25), parameter.at(0.5)
    if isinstance(quarter, str):
        assert found == (quarter, half)
    else:
        assert found == pytest.approx((quarter, half), rel=1e-4)
    assert parameter.at(0.0) is not None and parameter.at(1.0) is not None


def test_shares_of_a_weighted_choice():
    parameter = one(values=["a", "b", "c"], probabilities=[0.7, 0.2, 0.1])
    drawn = [parameter.at(share) for share in np.random.default_rng(1).random(4000)]
    assert [drawn.count(v) / 4000 for v in "abc"] == pytest.approx([0.7, 0.2, 0.1], abs=0.03)


def test_grids_are_listed_in_order():
    spec = read_sweep(
        {"method": "grid", "parameters": {
            "a": {"values": [1, 2]}, "b": {"value": "x"}, "c": {"min": 5, "max": 7},
            "d": {"min": 0.0, "max": 0.2, "q": 0.1},
        }}
    )  # fmt: skip
    assert spec.n_grid == 2 * 3 * 3
    rows = list(spec.grid())
    assert rows[0] == {"a": 1, "b": "x", "c": 5, "d": 0.0}
    assert rows[1]["d"] == 0.1 and rows[-1] == {"a": 2, "b": "x", "c": 7, "d": 0.2}


def test_nested_parameters_have_names_with_dots():
    spec = read_sweep(
        {"method": "random", "parameters": {
            "model": {"parameters": {"layers": {"values": [1, 2]}, "width": {"value": 64}}},
        }}
    )  # fmt: skip
    assert [p.name for p in spec.parameters] == ["model.layers", "model.width"]
    assert nest({"model.layers": 2, "lr": 1}) == {"model": {"layers": 2}, "lr": 1}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"methd": "grid"}, "unknown word 'methd'; did you mean 'method'"),
        ({"method": "baysian"}, "method is 'baysian'; did you mean 'bayes'"),
        ({"metric": {"nam": "f1"}}, "did you mean 'name'"),
        ({"metric": {"name": "f1", "goal": "maximise"}}, "did you mean 'maximize'"),
        ({"parameters": {}}, "parameters are empty"),
        ({"parameters": {"x": {"vals": [1]}}}, "unknown field 'vals'; did you mean 'values'"),
        ({"parameters": {"x": {"distribution": "log_unform_values", "min": 1, "max": 2}}},
         "did you mean 'log_uniform_values'"),
        ({"parameters": {"x": {"distribution": "uniform", "min": 1}}}, "lacks 'max'"),
        ({"parameters": {"x": {"distribution": "normal", "min": 1}}}, "is normal and has 'min'"),
        ({"parameters": {"x": {"min": 2, "max": 1}}}, "min below max"),
        ({"parameters": {"x": {"min": "a", "max": 1}}}, "min 'a', expected a number"),
        ({"parameters": {"x": {"distribution": "log_uniform_values", "min": 0, "max": 1}}},
         "values above 0"),
        ({"parameters": {"x": {"values": []}}}, "a list that is not empty"),
        ({"parameters": {"x": {"values": [1, 2], "probabilities": [0.5, 0.6]}}}, "sum to 1"),
        ({"parameters": {"x": 3}}, "expected an object such as"),
        ({"parameters": {"x": {}}}, "neither value, values, min and max"),
        ({"early_terminate": {"type": "median"}}, "expected 'hyperband'"),
        ({"early_terminate": {"type": "hyperband", "max_iter": 9}}, "max_iter without s"),
        ({"early_terminate": {"type": "hyperband", "etta": 3}}, "did you mean 'eta'"),
        ({"run_cap": 0}, "run_cap is 0"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(change, said):
    with pytest.raises(ValueError, match=said):
        read_sweep({**RELEASED, **change})


def test_grids_and_bayes_have_needs_of_their_own():
    continuous = {"x": {"min": 0.0, "max": 1.0}}
    with pytest.raises(ValueError, match="which a grid cannot list"):
        read_sweep({"method": "grid", "parameters": continuous})
    with pytest.raises(ValueError, match="bayes needs metric"):
        read_sweep({"method": "bayes", "parameters": continuous})
    with pytest.raises(ValueError, match="has no 'method'"):
        read_sweep({"parameters": continuous})


def test_invalid_json_is_named_by_line_and_column(tmp_path):
    """The manual's own examples lack commas."""
    file = tmp_path / "sweep.json"
    file.write_text('{"method": "random"\n "parameters": {}}')
    with pytest.raises(ValueError, match=r"line 2, column 2: no valid JSON"):
        read_sweep(file)
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_sweep(tmp_path / "absent.json")


def test_names_of_metrics():
    assert [metric_name(n) for n in ("eval/f1", "eval_loss", "auc")] == ["f1", "loss", "auc"]
