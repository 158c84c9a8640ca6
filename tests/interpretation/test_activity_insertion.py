"""Insertion into networks of stage 08: which are taken, what is told against what is planted."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from genomelm_utils.datasets.activity_task import TaskSpec, make_set
from genomelm_utils.interpretation import activity_insertion as study
from genomelm_utils.interpretation.motif_insertion import MotifEffects
from genomelm_utils.models.motif_scan import MotifScanner
from genomelm_utils.models.promoter_nets import build_promoter_net
from genomelm_utils.motifs.motif import Motif
from genomelm_utils.sequences.simulate_activity import GRAMMAR
from genomelm_utils.tasks.activity_benchmark import simulate_sets

TARGET, CELLS = "simulated_fluorescence", ("JURKAT", "K562", "THP1")
BEST = pd.DataFrame(
    {
        "method": ["LegNetMini single", "LegNetMini joint (a)", "ResNetMini single"],
        "seed": [1, 2, 1],
        "best": [0.5, 0.7, 0.6],
        "key": ["a" * 64, "b" * 64, "c" * 64],
    }
)


class Grammar(nn.Module):
    """Predicts the simulated grammar itself, without its pair: what insertion finds is known."""

    def __init__(self) -> None:
        super().__init__()
        self.scanner = MotifScanner.from_motifs(study.grammar_motifs())
        self.effects_MC = nn.Parameter(
            torch.tensor([[one.effect(cell) for cell in CELLS] for one in GRAMMAR])
        )

    def forward(self, codes_BL: torch.Tensor, task: str) -> torch.Tensor:
        assert task == TARGET
        return (self.scanner(codes_BL) > 0).float() @ self.effects_MC

    def outputs(self, task: str) -> list[str]:
        return list(CELLS)


def a_run(tmp_path, files=()) -> SimpleNamespace:
    def path(name):
        (tmp_path / name).mkdir(exist_ok=True)
        return tmp_path / name

    return SimpleNamespace(seed=1, params={"files": list(files)}, path=path)


def a_parent(tmp_path, best=BEST, **changes) -> SimpleNamespace:
    params = {"source": "simulated", "target": TARGET, "n_target": 300, "n_pretrain": 50}
    params |= {"max_train": 0, "seed": 1, "split": "fixed"} | changes
    return SimpleNamespace(
        stage="08",
        run="default",
        params=params,
        table={"best": best}.__getitem__,
        path=lambda name: tmp_path / name,
    )


@pytest.fixture
def found(tmp_path, monkeypatch) -> tuple[pd.DataFrame, pd.DataFrame]:
    monkeypatch.setattr(study, "open_network", lambda parent, key: Grammar().eval())
    return study.insert_all(
        a_run(tmp_path), a_parent(tmp_path), BEST.head(1).assign(backbone="LegNetMini"),
        study.grammar_motifs(), n_backgrounds=30, copies=1, replicates=2, strands="both",
        rule="corrected",
    )  # fmt: skip


def test_the_best_are_chosen_by_validation(tmp_path):
    parent = a_parent(tmp_path)
    assert study.choose_networks(parent)["method"].tolist() == ["LegNetMini joint (a)"]
    each = study.choose_networks(parent, "backbones")
    assert each["backbone"].tolist() == ["LegNetMini", "ResNetMini"]
    assert study.choose_networks(parent, "all")["best"].tolist() == [0.7, 0.6, 0.5]
    with pytest.raises(ValueError, match="networks is 'first', expected one of best, backbones"):
        study.choose_networks(parent, "first")
    with pytest.raises(ValueError, match="08/default has no network trained on its target"):
        study.choose_networks(a_parent(tmp_path, best=BEST.head(0)))


def test_a_planted_grammar_is_recovered(found):
    effects, _ = found
    whole = effects[effects["subset"] == "without"]
    truth = study.planted_effects(CELLS).set_index(["motif", "output"])["planted"]
    means = whole.set_index(["motif", "output"])["mean"]
    # one copy adds the motif's own effect, and now and then destroys another motif
    assert np.abs(means - truth[means.index]).max() < 0.4
    assert np.corrcoef(means, truth[means.index])[0, 1] > 0.97
    ranks = study.rank_planted(effects, study.planted_effects(CELLS))
    assert set(ranks["of"]) == {2 * len(GRAMMAR)}
    k562 = ranks[ranks["output"] == "K562"].set_index("motif")
    assert {k562["rank"]["GATA1"], k562["rank"]["REST"]} == {1, 2}
    assert k562["rank"]["RUNX1"] > len(GRAMMAR) / 2
    assert (k562.loc[["GATA1", "CREB1", "NRF1", "REST"], "q_excess"] < 0.01).all()
    recovery = study.recovery_table(ranks).set_index("measure")
    assert recovery["value"]["rho"] > 0.9
    assert recovery["value"]["auc"] == 1
    assert (recovery["low"] <= recovery["value"]).all()


def test_a_network_that_knows_nothing_recovers_nothing(tmp_path, monkeypatch):
    blind = Grammar().eval()
    blind.effects_MC.data = torch.zeros_like(blind.effects_MC)
    monkeypatch.setattr(study, "open_network", lambda parent, key: blind)
    effects, _ = study.insert_all(
        a_run(tmp_path), a_parent(tmp_path), BEST.head(1).assign(backbone="LegNetMini"),
        study.grammar_motifs(), n_backgrounds=10, copies=1, replicates=1, strands="both",
        rule="corrected",
    )  # fmt: skip
    recovery = study.recovery_table(study.rank_planted(effects, study.planted_effects(CELLS)))
    assert np.isnan(recovery.loc[recovery["measure"] == "rho", "value"]).all()
    assert recovery.loc[recovery["measure"] == "auc", "value"].item() == 0


def test_insertion_agrees_with_measured_differences(found):
    joined, agreement = study.agreement_of(*found, seed=0)
    assert set(joined.columns) >= {"method", "motif", "output", "mean", "dfe"}
    rho = agreement[agreement["motifs"] == "all"].set_index("output")["rho"]
    assert (rho > 0.7).all()


def test_effects_are_kept_by_background(found, tmp_path):
    kept = MotifEffects.load(tmp_path / "effects" / f"LegNetMini-{'a' * 16}.npz")
    assert kept.effects_MSC.shape == (2 * len(GRAMMAR), 30, 3)
    means = found[0].query("subset == 'all' and motif == 'REST'").set_index("output")["mean"]
    own = kept.effects_MSC[kept.motifs.index("REST")].mean(0)
    assert own == pytest.approx(means[list(CELLS)].to_numpy(), abs=1e-3)


def test_lists_of_motifs(found):
    top = study.top_table(found[0], n=3)
    first = top[(top["list"] == "top") & (top["rank"] == 1)].set_index(["side", "output"])["motif"]
    assert first["up", "K562"] == "GATA1"
    assert (first["down"] == "REST").all()
    common = top[(top["list"] == "common") & (top["side"] == "down")]
    assert common["motif"].iloc[0] == "REST"
    specific = top[(top["list"] == "specific") & (top["output"] == "JURKAT")]
    assert specific["motif"].iloc[0] == "RUNX1"


def test_a_saved_network_is_found_by_its_key(tmp_path):
    net = build_promoter_net("LegNetMini", {TARGET: CELLS}, channels=[8, 8])
    folder = tmp_path / "checkpoints" / f"single-LegNetMini-{'a' * 16}" / "model"
    net.save_pretrained(folder)
    loaded = study.open_network(a_parent(tmp_path), "a" * 64)
    assert loaded.outputs(TARGET) == list(CELLS)
    assert not loaded.training
    with pytest.raises(FileNotFoundError, match="0 networks with key bbbb"):
        study.open_network(a_parent(tmp_path), "b" * 64)


def test_the_target_is_the_one_that_was_trained_on(tmp_path):
    data = study.open_target(a_run(tmp_path), a_parent(tmp_path), seed=1)
    made = simulate_sets({TARGET: 300}, 1)[0][TARGET]
    assert data.key == made.key
    other = study.open_target(a_run(tmp_path), a_parent(tmp_path, split="multiple"), seed=2)
    assert (other.part_S != data.part_S).any()


def test_backgrounds_are_test_rows_that_are_long_enough():
    spec = TaskSpec("short", "regression", ("x",))
    codes = [np.zeros(n, np.uint8) for n in (5, 20, 20, 20)]
    labels = np.arange(4, dtype=np.float32)[:, None]
    part_S = np.array(["test", "test", "train", "test"])
    data = make_set(spec, codes, labels, part_S=part_S)
    assert study.draw_backgrounds(data, 9, 10, seed=0).tolist() == [1, 3]
    assert len(study.draw_backgrounds(data, 1, 10, seed=0)) == 1
    with pytest.raises(ValueError, match="no test sequence of 30 bases"):
        study.draw_backgrounds(data, 9, 30, seed=0)
    kept, left = study.fit_motifs({"wide": np.ones((21, 4)), "slim": np.ones((20, 4))}, data)
    assert (list(kept), left) == (["slim"], ["wide"])
    none = replace(data, part_S=np.array(["train"] * 4))
    with pytest.raises(ValueError, match="no row is in part 'test'"):
        study.draw_backgrounds(none, 9, 10, seed=0)


def test_motifs_are_named_by_their_factors():
    counts = np.eye(4)
    motifs = [Motif("M1", counts, "RUNX1"), Motif("M2", counts, "RUNX1"), Motif("M3", counts)]
    motifs.append(Motif("M4", counts, "REST"))
    assert list(study.label_motifs(motifs)) == ["RUNX1 M1", "RUNX1 M2", "M3", "REST"]
