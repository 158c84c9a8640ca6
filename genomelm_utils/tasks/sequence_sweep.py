"""Sweeps over classifiers of token sequences: a configuration becomes a training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from genomelm_utils.models.sequence_classifier import KINDS, build_config
from genomelm_utils.sequences.fasta import suggest
from genomelm_utils.tasks.hyperparameters import apply_config
from genomelm_utils.tasks.sequence_models import SequenceModel, Tokens
from genomelm_utils.tasks.sequence_training import Labelled, Report, train_classifier
from genomelm_utils.tasks.sequence_validation import TrainingSettings
from genomelm_utils.tasks.sweep import SweepRun
from genomelm_utils.tasks.sweep_results import MODEL

#: The sweep that runs when no file is given. Source: genomeNLP's default space, but for the range
#: of the learning rate (there 1e-5 to 0.1, where most runs collapse)
DEFAULT_SWEEP = {
    "name": "default",
    "method": "random",
    "metric": {"name": "eval/f1", "goal": "maximize"},
    "parameters": {
        "epochs": {"values": [1, 2, 3, 4, 5]},
        "batch_size": {"values": [8, 16, 32, 64]},
        "learning_rate": {"distribution": "log_uniform_values", "min": 1e-5, "max": 5e-4},
        "weight_decay": {"values": [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]},
    },
    "early_terminate": {"type": "hyperband", "s": 2, "eta": 3, "max_iter": 27},
}
RELEASED_RATES = (1e-5, 1e-1)  # Source: genomeNLP's default space


@dataclass(frozen=True)
class Experiment:
    """What every training of a sweep, or every fold, has in common.

    network: one of `KINDS`, or the folder of a model to start from. sizes: of the network. used:
    which hyper-parameters act, see `hyperparameters`. tokenizer: the file that goes beside models.
    """

    network: str | Path
    tokens: Tokens
    class_names: tuple[str, ...]
    settings: TrainingSettings = field(default_factory=TrainingSettings)
    sizes: Mapping[str, float] = field(default_factory=dict)
    used: str = "corrected"
    tokenizer: Path | None = None

    def train(
        self,
        train: Labelled,
        valid: Labelled | None,
        config: Mapping[str, object],
        *,
        seed: int,
        folder: Path | None = None,
        report: Report | None = None,
        progress: bool = False,
    ) -> SequenceModel:
        """A classifier trained with the values of a configuration in place of the settings."""
        settings, network = self.resolve(config)
        return train_classifier(
            train, network, self.tokens, self.class_names, settings, valid=valid, seed=seed,
            folder=folder, report=report, progress=progress,
        )  # fmt: skip

    def resolve(self, config: Mapping[str, object]):
        """(settings, configuration or folder of the network) that a configuration stands for."""
        settings, sizes = apply_config(config, self.settings, self.sizes, used=self.used)
        if self.network in KINDS:
            return settings, build_config(
                str(self.network), self.tokens.n_ids, self.class_names,
                pad_id=self.tokens.pad_id, **sizes,
            )  # fmt: skip
        folder = Path(self.network)
        if not folder.is_dir():
            raise ValueError(
                f"the model is {str(self.network)!r}{suggest(str(self.network), KINDS)}, expected "
                f"the folder of a model, or one of {', '.join(KINDS)}"
            )
        if sizes:
            raise ValueError(f"{', '.join(sizes)}: sizes come with the weights of {folder}")
        return settings, folder


def make_objective(experiment: Experiment, train: Labelled, valid: Labelled):
    """The objective of a sweep: a training whose validation scores are reported per epoch.

    Runs that collapse are not started again: the sweep goes on with other settings.
    """
    from dataclasses import replace

    once = replace(
        experiment, settings=replace(experiment.settings, on_collapse="stop", restarts=0)
    )

    def objective(run: SweepRun) -> None:
        def report(epoch: int, scores: dict[str, float]) -> None:
            run.report(scores)

        trained = once.train(
            train, valid, run.config, seed=run.seed, folder=run.folder / "training", report=report
        )
        trained.save(run.folder / MODEL, experiment.tokenizer)

    return objective


def select_rows(rows: Sequence[np.ndarray], labels: np.ndarray, places: np.ndarray) -> Labelled:
    """Some of the rows with their labels."""
    return [rows[i] for i in places.tolist()], labels[places]
