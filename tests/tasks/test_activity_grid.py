"""The grid: the released README's 43 commands, what is shared, and what is refused."""

import pandas as pd
import pytest

from genomelm_utils.pipeline.profile import load_profile
from genomelm_utils.tasks.activity_benchmark import pretraining_settings
from genomelm_utils.tasks.activity_grid import (
    expand_block,
    grid_table,
    unique_pretrainings,
)
from genomelm_utils.tasks.transfer_plan import FitSettings

LATER = "later"
MEMBERS = {"RNASeq": ["LL100", "CCLE", "Roadmap"]}


def expand(values: dict):
    """A run of the stage as its notebook expands it."""
    names = (
        "lr",
        "weight_decay",
        "batch_size",
        "epochs",
        "patience",
        "train_mode",
        "single",
        "monitor",
    )
    settings = FitSettings(**{name: values[name] for name in names})
    same = ("target", "backbones", "strategies", "pretrain_sets", "seeds", "split", "overrides",
            "options", "analyses")  # fmt: skip
    return expand_block(
        **{name: values[name] for name in same},
        members=MEMBERS,
        settings=settings,
        pretrain_settings=pretraining_settings(settings, values["pretrain_epochs"]),
    )


@pytest.fixture(scope="module")
def blocks():
    runs = load_profile("paper").runs["08_promoter_activity"]
    return {name: expand(values) for name, values in runs.items() if "reference" not in name}


def test_the_paper_profile_is_the_released_grid(blocks):
    """Source: golden facts: 43 commands, in blocks of 8, 16, 11, 4, 2 and 2."""
    sizes = {name: len(cells) for name, cells in blocks.items() if not name.startswith(LATER)}
    assert sizes == {
        "architectures": 8, "strategies": 16, "strategies-splits": 11, "insertion": 4,
        "transfer": 2, "classes": 2,
    }  # fmt: skip
    assert sum(sizes.values()) == 43


def test_the_later_commands(blocks):
    """Source: golden facts: 92 commands in the README's last state; its hyper-parameters."""
    later = {name: cells for name, cells in blocks.items() if name.startswith(LATER)}
    assert sum(map(len, later.values())) == 92
    table = pd.concat([grid_table(cells).assign(block=name) for name, cells in later.items()])
    table = table.set_index(["block", "backbone", "strategy", "pretrain"]).sort_index()

    def value(name, *place):
        return table.loc[place][name]

    whole, part = "later-architectures-malinois", "later-architectures-15000"
    assert value("batch_size", "later-architectures", "Malinois", "single", "") == 512
    assert value("batch_size", whole, "Malinois", "single", "") == 1076
    for name in ("later-architectures", whole, part):
        row = table.loc[(name, "Malinois", "single", "")]
        assert row[["optimizer", "schedule", "epochs", "patience"]].tolist() == [
            "adam_amsgrad", "warm_restarts", 200, 30,
        ]  # fmt: skip
        assert value("batch_size", name, "MPRAnn", "single", "") == 32
        assert value("batch_size", name, "DNABERTRandomInit", "single", "") == 64
        assert value("lr", name, "DNABERTRandomInit", "single", "") == 1e-5
    assert value("lr", whole, "MTLucifer", "single", "") == 1e-4
    assert value("lr", part, "MTLucifer", "single", "") == 1e-5
    assert value("lr", whole, "LegNetLarge", "single", "") == 0.01
    assert value("lr", part, "LegNetLarge", "single", "") == 0.005
    assert value("lr", whole, "EnformerRandomInit", "single", "") == 1e-4
    assert value("lr", part, "EnformerRandomInit", "single", "") == 5e-4
    assert set(table.loc[[whole, part]]["seeds"]) == {1}
    tuned = table.loc["later-finetune-malinois"]
    assert len(tuned) == 6 and set(tuned["lr"]) == {1e-4} and set(tuned["pretrain_lr"]) == {1e-5}
    assert sorted(tuned["pretrain_batch_size"]) == [24, 24, 24, 64, 96, 96]
    probed = table.loc[("later-strategies-malinois", "MTLucifer", "probing")]
    assert set(probed["lr"]) == {1e-3} and set(probed["pretrain_lr"]) == {1e-5}
    joint = table.loc[("later-strategies", "MTLucifer", "joint")]
    assert sorted(joint["batch_size"]) == [12, 12, 32, 32, 64]
    assert set(table.loc["later-features"]["seeds"]) == {5}


def test_hyperparameters_of_the_released_commands(blocks):
    table = grid_table(blocks["architectures"]).set_index("backbone")
    assert table.loc["LegNet", ["lr", "weight_decay", "batch_size"]].tolist() == [5e-3, 1e-2, 1024]
    assert table.loc["LegNetLarge", "batch_size"] == 192
    assert table.loc["DNABERT", ["lr", "batch_size"]].tolist() == [1e-5, 64]
    assert set(table["epochs"]) == {50}
    table = grid_table(blocks["strategies"]).set_index(["strategy", "pretrain"])
    sets = ["RNASeq", "ENCODETFChIPSeq", "Sharpr_MPRA", "SuRE_classification",
            "SuRE_classification+Sharpr_MPRA"]  # fmt: skip
    probing, finetune = table.loc["probing"].loc[sets], table.loc["finetune"].loc[sets]
    assert probing["pretrain_epochs"].tolist() == [50, 10, 20, 10, 8]
    assert finetune["pretrain_epochs"].tolist() == [50, 10, 50, 50, 50]
    assert probing["pretrain_batch_size"].tolist() == [96, 96, 96, 24, 24]
    assert set(probing["lr"]) == {1e-3}
    assert set(probing["pretrain_lr"]) == {1e-5}
    joint = table.loc["joint"].loc[sets]
    assert joint["batch_size"].tolist() == [96, 96, 96, 12, 12]
    assert set(joint["seeds"]) == {1}
    splits = grid_table(blocks["strategies-splits"])
    assert set(splits["pretrain_epochs"].dropna()) == {50}
    encode = splits[splits["pretrain"] == "ENCODETFChIPSeq"]
    assert set(encode["pretrain_batch_size"]) == {64}


def test_each_pretraining_is_done_once(blocks):
    """Five sets; in block B probing and fine-tuning ask for other numbers of epochs in three."""
    assert len(unique_pretrainings(blocks["strategies-splits"])) == 5
    assert len(unique_pretrainings(blocks["strategies"])) == 8
    for name in ("strategies", "strategies-splits"):
        sets = {tuple(sorted(plan.others)) for plan in unique_pretrainings(blocks[name])}
        assert len(sets) == 5


def test_small_has_four_backbones_four_strategies_three_seeds():
    runs = load_profile("small").runs["08_promoter_activity"]
    tss = grid_table(expand(runs["tss"]))
    assert tss["backbone"].nunique() == 4
    assert set(tss["strategy"]) == {"single", "probing", "finetune", "joint"}
    assert set(tss["seeds"]) == {3}
    for values in runs.values():
        assert {"single", "finetune"} <= set(grid_table(expand(values))["strategy"])
    targets = {values["target"].split(":")[0] for values in runs.values()}
    assert {"tss_mpra", "fly_starrseq", "plant_core", "ecoli_mpra"} <= targets


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"overrides": ["LegNt lr 0.1"]}, "expected names out of"),
        ({"overrides": ["LegNet lr"]}, "pairs of setting and value"),
        ({"overrides": ["LegNet rate 0.1"]}, "no setting 'rate'"),
        ({"overrides": ["LegNet epochs many"]}, "expected int"),
        ({"options": {"PureCNN": {}}}, "option for is 'PureCNN'"),
        ({"strategies": ["tune"]}, "strategy is 'tune'"),
        ({"strategies": ["finetune"]}, "needs other tasks"),
        ({"split": "random"}, "split is 'random'"),
        ({"analyses": ["attention"]}, "analysis is 'attention'"),
    ],
)
def test_what_is_refused(changes, told):
    block = {"target": "T", "backbones": ["LegNet"], "strategies": ["single"]} | changes
    with pytest.raises(ValueError, match=told):
        expand_block(**block)
