"""Names of hyper-parameters, from sweeps, JSON files and dumps of transformers, and what they set.

Switch `used`, `corrected` or `reference`: the released code samples more parameters than it uses;
with 'reference' only epochs, learning_rate, weight_decay and batch_size act.
"""

import logging
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from genomelm_utils.sequences.fasta import suggest
from genomelm_utils.tasks.sequence_validation import TrainingSettings
from genomelm_utils.tasks.sweep_results import BEST_FILE, read_best
from genomelm_utils.tasks.sweep_space import read_json
from genomelm_utils.tasks.sweep_store import flatten

logger = logging.getLogger(__name__)

USED = ("corrected", "reference")
#: Sizes of the network, see `models.sequence_classifier.build_config`.
SIZES = ("layers", "width", "heads", "inner", "dropout", "window", "positions")
SETTINGS = tuple(field.name for field in fields(TrainingSettings))
#: Other names of settings. Source: transformers' TrainingArguments
ALIASES = {
    "lr": "learning_rate",
    "num_train_epochs": "epochs",
    "num_epochs": "epochs",
    "per_device_train_batch_size": "batch_size",
    "train_batch_size": "batch_size",
    "warmup_ratio": "warmup_share",
    "lr_scheduler_type": "schedule",
    "hidden_size": "width",
    "dim": "width",
    "num_layers": "layers",
    "n_layers": "layers",
    "num_hidden_layers": "layers",
    "num_heads": "heads",
    "n_heads": "heads",
}
#: Names in sweeps that never had an effect. Source: the example sweeps of genomeNLP's manual
IDLE = ("decay", "momentum", "optimizer")
RELEASED = ("epochs", "learning_rate", "weight_decay", "batch_size")  # Source: released `sweep`
_WHOLE = ("epochs", "batch_size", "patience", "restarts", *SIZES[:4], *SIZES[5:])


def apply_config(
    config: Mapping[str, Any],
    settings: TrainingSettings,
    sizes: Mapping[str, float] | None = None,
    *,
    used: str = "corrected",
    where: str = "the configuration",
) -> tuple[TrainingSettings, dict[str, float]]:
    """(settings, sizes) with the values of a configuration in place of those given.

    config: flat or nested; what stands under a name counts by its last part. Idle names are named
    in the log.

    Raises: ValueError for an unknown name (with the nearest right one) or a value that is no number
    where one is needed.
    """
    if used not in USED:
        raise ValueError(f"used is {used!r}, expected one of {', '.join(USED)}")
    changes: dict[str, Any] = {}
    made_sizes = dict(sizes or {})
    idle = []
    for name, value in flatten(config).items():
        last = name.rsplit(".", 1)[-1]
        key = ALIASES.get(last, last)
        if key in IDLE or (used == "reference" and key not in RELEASED and _is_known(key)):
            idle.append(name)
        elif key in SETTINGS:
            changes[key] = _as_number(key, value, settings, where)
        elif key in SIZES:
            made_sizes[key] = int(value) if key in _WHOLE else float(value)
        else:
            known = (*SETTINGS, *SIZES, *ALIASES, *IDLE)
            raise ValueError(f"{where}: unknown hyper-parameter {name!r}{suggest(last, known)}")
    if idle:
        logger.info("%s: without effect: %s", where, ", ".join(idle))
    made = replace(settings, **changes)
    made.check()
    return made, made_sizes


def read_hyperparameters(source: Path | str) -> dict[str, Any]:
    """Hyper-parameters of a sweep's best run (its folder) or of a JSON file, flat.

    A file may be a plain object, what `sweep` writes, or a dump of transformers' TrainingArguments
    (also one that is text inside JSON, as the released code saves it), of which the settings that
    are known here are taken.

    Raises: FileNotFoundError; ValueError for invalid JSON or an unknown name.
    """
    source = Path(source)
    if source.is_dir():
        return flatten(read_best(source))
    content = read_json(source, "hyper-parameters (JSON)")
    if not isinstance(content, Mapping):
        raise ValueError(f"{source} is no JSON object, expected names and values")
    if source.name == BEST_FILE or {"config", "metric", "run"} <= set(content):
        return flatten(content["config"])
    return _take_known(flatten(content), source)


def _take_known(content: dict[str, Any], source: Path) -> dict[str, Any]:
    """All names, unless it is a dump of TrainingArguments: then those that mean something here."""
    from transformers import TrainingArguments

    theirs = {field.name for field in fields(TrainingArguments)}
    dump = len(theirs & set(content)) > 20
    kept, passed = {}, []
    for name, value in content.items():
        last = name.rsplit(".", 1)[-1]
        if _is_known(ALIASES.get(last, last)) or not dump:
            kept[name] = value
        else:
            passed.append(name)
    if passed:
        logger.info("%s: %d training arguments have no meaning here", source, len(passed))
    return kept


def _is_known(key: str) -> bool:
    return key in SETTINGS or key in SIZES or key in IDLE


def _as_number(key: str, value: Any, settings: TrainingSettings, where: str) -> Any:
    """The value in the type of the setting."""
    wanted = type(getattr(settings, key))
    if wanted is str:
        return str(value)
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {key} is {value!r}, expected a number") from error
    if wanted is int and number != int(number):
        raise ValueError(f"{where}: {key} is {value!r}, expected a whole number")
    return wanted(number)
