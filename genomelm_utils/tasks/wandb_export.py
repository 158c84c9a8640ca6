"""Runs sent to Weights & Biases, if that is asked for and the user is logged in there.

Nothing here is needed to run a sweep: results lie in its folder, with TensorBoard files.
"""

import os
from typing import Any

#: Values of WANDB_MODE that need no login; `wandb sync` sends kept runs later.
OFFLINE = ("offline", "dryrun", "disabled")


class WandbExport:
    """An exporter of sweeps (see `tasks.sweep`), and of single trainings by `log` and `finish`.

    project, entity, group: where runs appear.

    Raises: ValueError when the package wandb is not installed, or nobody is logged in
        (runs kept offline need no login).
    """

    def __init__(self, project: str, entity: str | None = None, group: str | None = None) -> None:
        self.wandb = open_wandb()
        self.place = {"project": project, "entity": entity, "group": group}
        self.runs: dict[Any, Any] = {}

    def __call__(self, run: Any, scores: dict[str, float] | None) -> None:
        """Send the scores of an iteration; None ends the run."""
        if scores is None:
            self.finish(run.number)
        else:
            self.log(run.number, f"run-{run.number:04d}", run.config, scores)

    def log(self, key: Any, name: str, config: dict[str, Any], scores: dict[str, float]) -> None:
        """Send scores of the run `key`, which is opened the first time."""
        if key not in self.runs:
            self.runs[key] = self.wandb.init(
                name=name, config=config, reinit="create_new", **self.place
            )
        self.runs[key].log({f"eval/{metric}": value for metric, value in scores.items()})

    def finish(self, key: Any) -> None:
        """End the run `key`."""
        if key in self.runs:
            self.runs.pop(key).finish()


def open_wandb() -> Any:
    """The module wandb, ready to be used; ValueError says what is missing."""
    try:
        import wandb
    except ImportError as error:
        raise ValueError(
            "the package wandb is not installed: `pip install wandb`, or leave the option out "
            "(results and TensorBoard files lie in the output folder anyway)"
        ) from error
    offline = os.environ.get("WANDB_MODE") in OFFLINE
    if not offline and not wandb.api.api_key:
        raise ValueError(
            "nobody is logged in to wandb: run `wandb login`, set WANDB_MODE=offline, or leave the "
            "option out"
        )
    return wandb
