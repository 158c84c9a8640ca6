"""Options that verbs of networks share: data, network, hyper-parameters, wandb."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genomelm_utils.genomenlp.options import FORMATS, whole
from genomelm_utils.genomenlp.rows import add_groups

if TYPE_CHECKING:
    from genomelm_utils.tasks.wandb_export import WandbExport

SIZES = ("layers", "width", "heads", "positions")
POOLINGS = ("mean", "cls", "first")


def add_data(parser: argparse.ArgumentParser) -> None:
    """The training set and its format."""
    add = parser.add_argument
    add("train", type=Path, help="data set to train on")
    add("format", choices=FORMATS, help="not used: the name of the file says it")


def add_network(parser: argparse.ArgumentParser) -> None:
    """Kind and sizes of the network, and how it is trained."""
    add = parser.add_argument
    add(
        "-m",
        "--model",
        default="distilbert",
        help="distilbert, longformer, a preset (micro, ...), or a model's folder [distilbert]",
    )
    for name in SIZES:
        add(f"--{name}", type=whole(1), help="of the network [as published]")
    add("--dropout", type=float, help="[as published]")
    add("--pooling", choices=POOLINGS, help="what the head reads [mean]")
    add("--long", choices=("windows", "cut"), help="rows that are too long [windows]")
    add("--class_weights", choices=("none", "balanced"), help="[none]")
    add("--patience", type=whole(0), help="epochs without gain before it stops [0: never]")
    add("--select", choices=("metric", "loss"), help="which epoch is kept [metric]")
    add("--reference", action="store_true", help="train as released, with its defects")


def add_sets(parser: argparse.ArgumentParser) -> None:
    """The training set with its tokenizer, what is watched and what is tested."""
    add_data(parser)
    add = parser.add_argument
    add("tokeniser_path", type=Path, help="the tokenizer (JSON)")
    add("-t", "--test", type=Path, help="data set to test on, once, at the end")
    add("-v", "--valid", type=Path, help="data set to choose by [a tenth of train]")


def add_run(parser: argparse.ArgumentParser, group: str) -> None:
    """Chance, what stays together, and wandb, of whose options only `--wandb` does something."""
    add = parser.add_argument
    add("--seed", type=whole(0, 2**31), default=1, help="of all chance [1]")
    add_groups(parser)
    add("--wandb", action="store_true", help="send scores to wandb, where you are logged in")
    add("-e", "--entity_name", help="of wandb")
    add("-p", "--project_name", help="of wandb [genomelm]")
    add("-g", "--group_name", default=group, help=f"of wandb [{group}]")
    add("--wandb_off", action="store_true", help="not used: wandb is off unless --wandb is given")


def read_config(given: argparse.Namespace) -> dict[str, Any]:
    """Hyper-parameters of a file or sweep, with those that were given one by one in their place."""
    from genomelm_utils.tasks.hyperparameters import read_hyperparameters
    from genomelm_utils.tasks.sweep_space import metric_name

    source = given.config_from_run or given.hyperparameter_file
    if given.config_from_run and not Path(given.config_from_run).exists():
        raise ValueError(
            f"--config_from_run is {given.config_from_run!r}, expected the folder of a sweep here; "
            "runs of wandb are not fetched: save their configuration as JSON and give it with -f"
        )
    config = read_hyperparameters(source) if source else {}
    for option, name in (
        ("num_train_epochs", "epochs"),
        ("per_device_train_batch_size", "batch_size"),
        ("learning_rate", "learning_rate"),
        ("weight_decay", "weight_decay"),
        ("warmup_ratio", "warmup_share"),
        ("lr_scheduler_type", "schedule"),
        ("on_collapse", "on_collapse"),
    ):
        if getattr(given, option, None) is not None:
            config[name] = getattr(given, option)
    if given.metric_opt:
        config["metric"] = metric_name(given.metric_opt)
    return config


def open_export(given: argparse.Namespace) -> "WandbExport":
    """Where scores are sent; ValueError without the package or a login."""
    from genomelm_utils.tasks.wandb_export import WandbExport

    return WandbExport(given.project_name or "genomelm", given.entity_name, given.group_name)
