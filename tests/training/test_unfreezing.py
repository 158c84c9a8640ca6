"""Progressive unfreezing: golden factors, groups with and without the defect, rates in the loop."""

import pytest
import torch
from torch import nn
from toy import SETTINGS, ToyBatches, ToyTask

from genomelm_utils.training.loop import fit
from genomelm_utils.training.unfreezing import (
    find_head,
    freeze_parameters,
    layerwise_scales,
    plan_unfreezing,
)


class Layered(nn.Module):
    """Names of a RoBERTa of `n` layers with a head of three dense layers."""

    def __init__(self, n: int = 6) -> None:
        super().__init__()
        self.model = nn.Module()
        self.model.roberta = nn.Module()
        self.model.roberta.embeddings = nn.Embedding(3, 2)
        self.model.roberta.encoder = nn.Module()
        self.model.roberta.encoder.layer = nn.ModuleList(nn.Linear(2, 2) for _ in range(n))
        self.model.head = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 1))


def test_golden_factors() -> None:
    """Golden fact 9: w = 200, D = 500, groups from the lowest to the head."""
    plan = plan_unfreezing(Layered())
    assert plan.delays == (1500, 1000, 500, 0)
    assert plan.peaks == (1 / 8, 1 / 4, 1 / 2, 1)
    expected = {
        100: [0, 0, 0, 0.5],
        600: [0, 0, 0.25, 1],
        700: [0, 0, 0.5, 1],
        1100: [0, 0.125, 0.5, 1],
        1700: [0.125, 0.25, 0.5, 1],
        9999: [0.125, 0.25, 0.5, 1],
    }
    assert {step: plan.factors(step, 200) for step in expected} == expected


def group_of(plan, name: str) -> tuple[float, int]:
    """(peak, delay) of a parameter, by the longest prefix."""
    fitting = [prefix for prefix in plan.lr_scales if name.startswith(prefix)]
    prefix = max(fitting, key=len, default=None)
    return (plan.lr_scales[prefix], plan.lr_delays[prefix]) if prefix else (1.0, 0)


def test_corrected_groups_hold_embeddings_and_the_whole_head() -> None:
    task = Layered()
    plan = plan_unfreezing(task)
    assert plan.names == ("layers 1-2 and embeddings", "layers 3-4", "layers 5-6", "head")
    assert plan.frozen == ()
    for name, _ in task.named_parameters():
        if "embeddings" in name or ".layer.0." in name or ".layer.1." in name:
            assert group_of(plan, name) == (1 / 8, 1500), name
        elif ".layer." in name:
            above = ".layer.4." in name or ".layer.5." in name
            assert group_of(plan, name) == ((1 / 2, 500) if above else (1 / 4, 1000)), name
        else:
            assert group_of(plan, name) == (1.0, 0), name


def test_reference_trains_no_embeddings_and_one_tensor_of_the_head() -> None:
    task = Layered()
    plan = plan_unfreezing(task, groups="reference")
    frozen = freeze_parameters(task, plan.frozen)
    assert frozen == ["model.roberta.embeddings.weight", *find_head(task)[1:]]
    trained = [name for name, p in task.named_parameters() if p.requires_grad]
    assert [name for name in trained if ".layer." not in name] == ["model.head.0.weight"]
    assert len([name for name in trained if ".layer." in name]) == 12
    assert plan.factors(700, 200) == plan_unfreezing(Layered()).factors(700, 200)


def test_uneven_and_many_layers() -> None:
    plan = plan_unfreezing(Layered(12), n_groups=5, delay_steps=10)
    assert plan.names[:2] == ("layers 1-3 and embeddings", "layers 4-6")
    assert group_of(plan, "model.roberta.encoder.layer.1.weight") == (1 / 32, 50)
    assert group_of(plan, "model.roberta.encoder.layer.11.weight") == (1 / 2, 10)
    assert plan_unfreezing(Layered(1), n_groups=1).names == ("layer 1 and embeddings", "head")


def test_curves_are_tidy() -> None:
    table = plan_unfreezing(Layered()).curves(1700, 200, every=100)
    assert list(table.columns) == ["step", "group", "factor"]
    assert len(table) == 18 * 4
    assert table.query("step == 1700")["factor"].tolist() == [0.125, 0.25, 0.5, 1.0]


def test_the_loop_keeps_late_groups_still() -> None:
    """One layer, delay of four updates: embeddings and layer stand still until then."""
    starts = dict(ToyTask(dropout=0.0).named_parameters())
    for optimizer in ("adamw", "lamb"):
        for steps, moved in ((5, False), (8, True)):
            task = ToyTask(dropout=0.0)
            plan = plan_unfreezing(task, n_groups=1, delay_steps=4)
            settings = {**SETTINGS, "steps": steps, "progress": False, "schedule": "constant"}
            rates = {"lr_scales": plan.lr_scales, "lr_delays": plan.lr_delays}
            fit(task, ToyBatches(), **settings, **rates, optimizer=optimizer)
            for name, parameter in task.named_parameters():
                late = ".layer." in name or "embeddings." in name
                if name.endswith("word_embeddings.weight") or not late:
                    continue
                assert (not torch.equal(parameter, starts[name])) == moved, (name, steps)
            assert not torch.equal(task.scale, starts["scale"])


def test_resuming_with_other_delays_is_refused(tmp_path) -> None:
    settings = {**SETTINGS, "progress": False, "folder": tmp_path, "optimizer": "lamb"}
    fit(ToyTask(), ToyBatches(), **{**settings, "steps": 2, "lr_delays": {"scale": 1}})
    with pytest.raises(ValueError, match="lr_delays"):
        fit(ToyTask(), ToyBatches(), **{**settings, "steps": 2, "resume": True})
    with pytest.raises(ValueError, match="optimizer: saved 'lamb', now 'nothing'"):
        settings = {**settings, "optimizer": "adamw", "lr_delays": {"scale": 1}}
        fit(ToyTask(), ToyBatches(), **{**settings, "steps": 2, "resume": True})


def test_layerwise_scales() -> None:
    scales = layerwise_scales(Layered(2), 0.5)
    root = "model.roberta."
    assert scales == {
        f"{root}embeddings.": 0.125,
        f"{root}encoder.layer.0.": 0.25,
        f"{root}encoder.layer.1.": 0.5,
    }
    with pytest.raises(ValueError, match=r"factor is 0, expected in \(0, 1\]"):
        layerwise_scales(Layered(2), 0)


def test_unusable_models_and_settings() -> None:
    with pytest.raises(ValueError, match=r"expected one encoder with parameters .*, found 0"):
        plan_unfreezing(nn.Linear(2, 2))
    both = nn.ModuleList([Layered(), Layered()])
    with pytest.raises(ValueError, match=r"found 2: 0\.model\.roberta\., 1\.model\.roberta\."):
        plan_unfreezing(both)
    with pytest.raises(ValueError, match="n_groups is 7, expected 1 to 6"):
        plan_unfreezing(Layered(), n_groups=7)
    with pytest.raises(ValueError, match="groups is 'all', expected one of: corrected, reference"):
        plan_unfreezing(Layered(), groups="all")
    with pytest.raises(ValueError, match="'hat' is the start of no parameter's name"):
        freeze_parameters(Layered(), ("hat",))
