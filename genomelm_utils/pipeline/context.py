"""What a notebook sees of its run: parameters, parents' tables, data, places for its results."""

import json
import os
import re
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genomelm_utils import paths
from genomelm_utils.pipeline.code import hash_notebook
from genomelm_utils.pipeline.inputs import hash_inputs, locate_input, registry_names
from genomelm_utils.pipeline.machine import package_versions
from genomelm_utils.pipeline.params import Schema, check_params, read_schema
from genomelm_utils.pipeline.profile import match_runs
from genomelm_utils.pipeline.receipts import (
    Identity,
    Receipt,
    hash_json,
    load_receipt,
    read_receipt,
    run_folders,
    write_json_atomic,
)
from genomelm_utils.pipeline.work import remove_folder

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

JOB_VARIABLE = "GENOMELM_JOB"
DEMO = "demo"
KEY_NAME = "key.json"
NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
PNG_DPI = 200


@dataclass(frozen=True)
class Parent:
    """A finished run that this one reads.

    stage, run  which one; dir its folder
    """

    stage: str
    run: str
    dir: Path

    @cached_property
    def receipt(self) -> Receipt:
        """Its receipt: parameters, inputs, outputs and their hashes."""
        receipt, problem = load_receipt(self.dir)
        if receipt is None:
            profile = self.dir.parent.parent.name
            raise FileNotFoundError(
                f"{self.stage}/{self.run} has no results in {self.dir} ({problem}); "
                f"run: python run_all.py run --profile {profile} --until {self.stage}"
            )
        return receipt

    @property
    def params(self) -> dict[str, Any]:
        """Its parameters, as it received them."""
        return dict(self.receipt.params)

    @property
    def tables(self) -> list[str]:
        """Names of its tables."""
        return sorted(path.stem for path in (self.dir / "tables").glob("*.csv"))

    def table(self, name: str) -> "pd.DataFrame":
        """One of its tables. Text stays text: only empty fields count as missing."""
        import pandas as pd

        path = self.dir / "tables" / f"{name}.csv"
        if not path.is_file():
            found = ", ".join(self.tables) or "none"
            raise FileNotFoundError(
                f"{self.stage}/{self.run} has no table {name!r}, expected one of {found}"
            )
        return pd.read_csv(path, keep_default_na=False, na_values=[""])

    def path(self, relative: str) -> Path:
        """A file or folder of it, such as `checkpoints/final`; it must exist."""
        path = self.dir / relative
        if not path.exists():
            raise FileNotFoundError(f"{self.stage}/{self.run} has no {relative} (in {self.dir})")
        return path


class Run:
    """The current run of a notebook: see `open_run`.

    profile, stage, run   what is running; profile is `interactive` outside a batch
    dir                   its folder
    params                all parameters, as the notebook holds them
    note                  a remark on the folder, for `describe`
    """

    def __init__(
        self,
        *,
        profile: str,
        stage: str,
        run: str,
        folder: Path,
        params: dict[str, Any],
        schema: Schema,
        parents: dict[str, list[Parent]],
        note: str = "",
    ) -> None:
        self.profile = profile
        self.stage = stage
        self.run = run
        self.dir = folder
        self.params = params
        self.note = note
        self._schema = schema
        self._parents = parents

    @property
    def seed(self) -> int:
        """The run's seed, from its parameter `seed`."""
        if "seed" not in self.params:
            raise ValueError(
                f"{self._schema.source} has no parameter `seed`; add it to use run.seed"
            )
        return self.params["seed"]

    def parents(self, parameter: str) -> list[Parent]:
        """The finished runs a `run of` parameter names, in the order given."""
        if parameter not in self._parents:
            known = ", ".join(self._parents) or "none"
            raise ValueError(
                f"{self._schema.source}: {parameter} is not a `run of` parameter, expected {known}"
            )
        return list(self._parents[parameter])

    def parent(self, parameter: str) -> Parent:
        """The one finished run a `run of` parameter names."""
        found = self.parents(parameter)
        if len(found) != 1:
            raise ValueError(
                f"{self.stage}: {parameter} names {len(found)} runs, expected one; "
                "use run.parents() for several"
            )
        return found[0]

    def path(self, relative: str) -> Path:
        """A folder inside the run's folder, made where absent, such as `checkpoints`."""
        path = self.dir / relative
        if not path.resolve().is_relative_to(self.dir.resolve()):
            raise ValueError(f"{relative!r} leads out of the run's folder {self.dir}")
        path.mkdir(parents=True, exist_ok=True)
        return path

    def shared(self, name: str) -> Path:
        """A folder that all runs of this stage share as long as its code stays the same; made
        where absent, below `data/interim`, safe to delete.

        Its name holds a hash of the notebook's code, of all package code it imports and of the
        versions of its libraries. What is kept in it must be keyed by everything else it depends
        on, and copied into the run's own folder where it is a result.
        """
        code = hash_notebook(paths.notebook_file(self.stage)), package_versions()
        folder = paths.interim_dir() / self.stage / hash_json(code)[:16] / _check_name(name)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def data(self, name: str) -> Path:
        """A data file (or folder of them), verified; downloaded where it is not at hand.

        The name must be the value of a `data` parameter, or lie below one, so that the receipt
        knows every input. Raises ValueError for another name, FileNotFoundError for an absent file.
        """
        declared = self._declared_data()
        inside = any(name == d or name.startswith(d.rstrip("/") + "/") for d in declared)
        if not name or not inside:
            raise ValueError(
                f"{self.stage} does not declare the data file {name!r}, only "
                f"{', '.join(declared) or 'none'}; name it in a `data` parameter"
            )
        return locate_input(name)

    def data_files(self, name: str) -> list[str]:
        """Names of the registry files a `data` value means: itself, or all below a folder."""
        return registry_names(name)

    def _declared_data(self) -> list[str]:
        values = [self.params[p.name] for p in self._schema.parameters if p.is_data]
        names = [
            item for value in values for item in (value if isinstance(value, list) else [value])
        ]
        return [name for name in names if name]

    def save_table(self, table: "pd.DataFrame", name: str) -> None:
        """Write tables/<name>.csv; the same table gives the same bytes.

        Floats are written with as many digits as bring back the same value. The index is not
        written, so an index with a name is an error: it holds data (`table.reset_index()`).
        """
        named = [str(level) for level in table.index.names if level is not None]
        if named:
            raise ValueError(
                f"table {name!r} has an index named {', '.join(named)}, which would be lost; "
                "use .reset_index()"
            )
        path = self.path("tables") / f"{_check_name(name)}.csv"
        table.to_csv(path, index=False, lineterminator="\n")

    def save_figure(self, figure: "Figure", name: str, caption: str = "") -> None:
        """Write figures/<name>.svg and .png (200 dots per inch); identical data, identical files.

        The figure stays open, so the notebook still shows it.

        caption: a sentence computed from the numbers; becomes figures/<name>.txt, which the report
            shows below the figure and reads out where the figure cannot be seen.
        """
        import matplotlib as mpl

        stem = self.path("figures") / _check_name(name)
        with mpl.rc_context({"svg.hashsalt": name}):
            figure.savefig(f"{stem}.svg", metadata={"Date": None})
            figure.savefig(f"{stem}.png", dpi=PNG_DPI, metadata={"Software": None})
        if caption:
            Path(f"{stem}.txt").write_text(caption.strip() + "\n", encoding="utf-8")

    def log(self, text: str) -> None:
        """Show a line in the notebook; in a batch it also stands in the run's log.txt."""
        sys.stdout.write(f"{text}\n")

    def describe(self) -> str:
        """The run in a few lines: what it is, its parameters, what it reads, where it writes."""
        width = max([len(name) for name in self.params], default=0)
        lines = [f"{self.stage}/{self.run}, profile {self.profile}"]
        for parameter in self._schema.parameters:
            value = self.params[parameter.name]
            lines.append(f"  {parameter.name:<{width}} = {value!r}  ({parameter.meaning})")
        for name, parents in self._parents.items():
            lines.append(f"  {name} reads {', '.join(str(p.dir) for p in parents) or 'nothing'}")
        lines.append(f"  writes {self.dir}")
        return "\n".join([*lines, f"  {self.note}"] if self.note else lines)

    def __repr__(self) -> str:
        return f"Run({self.stage}/{self.run}, profile {self.profile}, in {self.dir})"


def _check_name(name: str) -> str:
    if not NAME.match(name):
        raise ValueError(f"{name!r} cannot be a file name, expected letters, digits, _ . and -")
    return name


# --- opening -------------------------------------------------------------------------------


def open_run(stage: str, notebook_globals: dict[str, Any]) -> Run:
    """The run a notebook belongs to; the first line of every notebook after its parameters.

    In a batch it is the job's. Otherwise (JupyterLab) results go to data/runs/interactive, and
    parents are those of the demo profile. That folder is scratch space: what lies there is deleted
    when parameters, code, data or parents differ from those it was made with, and kept when they
    are the same, so that an interrupted training goes on.

    stage: the notebook's own name, such as `02_pmi_ranking`. notebook_globals: `globals()`.
    Raises ValueError for values that do not fit the parameters cell, FileNotFoundError for a
    parent that has not run, with the command that runs it.
    """
    schema = read_schema(paths.notebook_file(stage))
    absent = [name for name in schema.by_name if name not in notebook_globals]
    if absent:
        raise ValueError(f"{schema.source}: run the parameters cell first ({absent[0]} is not set)")
    values = {name: notebook_globals[name] for name in schema.by_name}
    values = check_params(schema, values, stage)
    job_file = os.environ.get(JOB_VARIABLE)
    return (
        _open_job(stage, schema, values, Path(job_file))
        if job_file
        else _open(schema, values, stage)
    )


def _open_job(stage: str, schema: Schema, values: dict[str, Any], job_file: Path) -> Run:
    job = json.loads(job_file.read_text())
    if job["stage"] != stage:
        raise ValueError(
            f"the notebook {job['stage']} opens the run of {stage}; correct open_run()"
        )
    parents = {
        name: [_parent(job["profile"], parent) for parent in ids]
        for name, ids in job["parents"].items()
    }
    return Run(
        profile=job["profile"],
        stage=stage,
        run=job["run"],
        folder=Path(job["work_dir"]),
        params=values,
        schema=schema,
        parents=parents,
    )


def _open(schema: Schema, values: dict[str, Any], stage: str) -> Run:
    parents, inputs = {}, {}
    for parameter in schema.parameters:
        if parameter.run_of:
            value = values[parameter.name]
            wanted = value if parameter.is_list else [value] if value else []
            runs = _finished_runs(parameter.run_of)
            if wanted and not runs:
                raise FileNotFoundError(
                    f"{stage} reads {parameter.run_of}, which has no results yet; "
                    f"run: python run_all.py run --profile {DEMO} --until {parameter.run_of}"
                )
            names = match_runs(wanted, runs, f"{stage}.{parameter.name}")
            parents[parameter.name] = [_parent(DEMO, f"{parameter.run_of}/{n}") for n in names]
        if parameter.is_data:
            value = values[parameter.name]
            names = [name for name in (value if parameter.is_list else [value]) if name]
            inputs |= hash_inputs(names, f"{stage}.{parameter.name}")
    read = {p.receipt.id: p.receipt.key for found in parents.values() for p in found}
    identity = Identity(values, *hash_notebook(paths.notebook_file(stage)), inputs, read)
    folder = paths.run_dir(paths.INTERACTIVE, stage, "default")
    return Run(
        profile=paths.INTERACTIVE,
        stage=stage,
        run="default",
        folder=folder,
        params=values,
        schema=schema,
        parents=parents,
        note=_prepare_scratch(folder, identity.key),
    )


def _prepare_scratch(folder: Path, key: str) -> str:
    """Empty an interactive run's folder unless its results are of the same key; what was done."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / KEY_NAME
    try:
        same = json.loads(file.read_text())["key"] == key
    except (OSError, ValueError, KeyError, TypeError):
        same = False
    left = sorted(path.name for path in folder.iterdir() if path.is_dir())
    if not same:
        # the key first: without it a half-emptied folder is never taken for a whole one
        file.unlink(missing_ok=True)
        for name in left:
            remove_folder(folder / name)
        write_json_atomic(file, {"key": key})
    done = "kept" if same else "deleted: it was made with other parameters, code, data or parents"
    found = f"; what was there ({', '.join(left)}) is {done}" if left else ""
    return f"scratch space, emptied when parameters, code, data or parents change{found}"


def _finished_runs(stage: str) -> list[str]:
    return [
        folder.name
        for folder in run_folders(DEMO)
        if folder.parent.name == stage and read_receipt(folder)
    ]


def _parent(profile: str, name: str) -> Parent:
    stage, run = name.split("/")
    parent = Parent(stage, run, paths.run_dir(profile, stage, run))
    if parent.receipt.id != name:
        raise ValueError(
            f"{parent.dir} holds the receipt of {parent.receipt.id}; run {stage} again"
        )
    return parent
