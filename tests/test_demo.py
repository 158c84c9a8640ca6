"""The demo profile end to end, made small: receipts, report, a second run, forced runs, plans.

The real notebooks and the real `params/demo.yaml` run in a copy of the project's root. Only sizes
are smaller, so that the whole takes about a minute and a half on two cores.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import yaml

from genomelm_utils import paths
from genomelm_utils.pipeline.yaml_text import load_yaml

REPOSITORY = Path(__file__).resolve().parents[1]
SMALL = {
    "01_data": {
        "simulated_mbp": 0.5,
        "n_per_class": 60,
        "n_species": 4,
        "species_kbp": 40,
        "n_train": 2,
        "n_families": 24,
    },
    "02_pmi_ranking": {"n_max": 8},
    "03_tokenizers": {
        "ks": [3, 6],
        "sample_mbp": 0.2,
        "bpe_vocab": 64,
        "bpe_mbp": 0.1,
        "unigram_vocab": 64,
        "contig_mbp": 0.05,
        "contig_lengths": [512],
    },
    "04_pretraining": {
        "steps": 6,
        "warmup_steps": 2,
        "rows_per_step": 8,
        "eval_every": 3,
        "save_every": 3,
        "valid_rows": 16,
    },
    "05_fewshot": {"shots": [5], "draws": 1, "max_test": 40},
    "06_genomicbert": {
        "vocab_size": 30,
        "width": 16,
        "heads": 2,
        "sweep_runs": 1,
        "sweep_epochs": 1,
        "k": 2,
        "with_network": False,
        "n_explained": 2,
    },
    "07_expression": {
        "vocab": 40,
        "preset": "nano",
        "pretrain_steps": 6,
        "rows_per_step": 8,
        "epochs": 1,
        "baselines": ["tissue_mean", "kmer_ridge"],
        "flip_ks": [3],
        "flip_span_bp": 60,
        "flip_promoters": 2,
    },
    "08_promoter_activity": {
        "n_target": 60,
        "n_pretrain": 60,
        "epochs": 1,
        "pretrain_epochs": 1,
        "seeds": 1,
        "overrides": [],
    },
    "09_species_pretraining": {
        "lengths_bp": [200],
        "steps": 4,
        "batch_pairs": 4,
        "valid_pairs": 6,
        "eval_every": 2,
        "save_every": 2,
        "mlm_steps": 2,
        "mlm_rows": 4,
    },
    "10_clustering_binning": {
        "n_per_genome": 24,
        "length_bp": 500,
        "spread": 0.0,
        "seeds": 2,
        "shots": [1, 2],
        "bin_min_bp": 200,
        "min_bin_size": 2,
        "max_halves": 20,
        "max_map": 30,
        "kmer_window_bp": [300],
        "kmer_steps": 2,
    },
    "11_motifs": {
        "n_simulated": 60,
        "n_motifs": 1,
        "options": {"num_generation": 1, "population_size": 10},
        "n_permutations": 100,
    },
    "12_interpretation": {
        "ks": [3],
        "n_train": 24,
        "n_test": 20,
        "epochs": 1,
        "n_explained": 2,
        "methods": ["integrated_gradients", "mutagenesis"],
        "steps": 4,
        "n_promoters": 2,
        "span_bp": 40,
    },
    "12_motif_insertion": {"n_backgrounds": 8, "replicates": 1},
}
RUNS = {
    "00_environment/default",
    "01_data/simulated",
    "01_data/species",
    "01_data/promoters",
    "02_pmi_ranking/default",
    "03_tokenizers/default",
    "03_tokenizers/species",
    "04_pretraining/contiguous",
    "04_pretraining/span11",
    "04_pretraining/genemask",
    "04_pretraining/genemask_reference",
    "05_fewshot/promoter",
    "05_fewshot/splice",
    "06_genomicbert/default",
    "07_expression/default",
    "08_promoter_activity/default",
    "09_species_pretraining/default",
    "10_clustering_binning/default",
    "11_motifs/default",
    "12_interpretation/default",
    "12_motif_insertion/default",
    "13_figures_genemask/default",
    "13_figures_genomicbert/default",
    "13_figures_expression/default",
    "13_figures_species/default",
    "13_figures_activity/default",
}
FEWSHOT = {"05_fewshot/promoter", "05_fewshot/splice"}
FIGURES = {"13_figures_genemask/default"}
MOTIFS = {"11_motifs/default"}
INTERPRETED = {"12_interpretation/default"}
TOKENIZERS = {"03_tokenizers/default", "03_tokenizers/species"}
VOCABULARIES = {"13_figures_genomicbert/default"}
CLUSTERING = {"10_clustering_binning/default", "13_figures_species/default"}
SPECIES = {"09_species_pretraining/default", *CLUSTERING}
ACTIVITY = {
    "08_promoter_activity/default",
    "12_motif_insertion/default",
    "13_figures_activity/default",
}
PRETRAINING = {name for name in RUNS if name.startswith("04")}
#: Tables with a header alone: nothing is dropped from a simulated set, one draw has no pair.
MAY_BE_EMPTY = {"dropped", "defects", "overlaps", "paired", "skipped", "fewshot_skipped"}
MAY_BE_EMPTY |= {"skipped_genes", "pretraining_sets", "motifs", "words", "variants_left_out"}
# of stages 11 and 12, should their few sequences give no motif
MAY_BE_EMPTY |= {"sites", "matches", "patterns"}


@dataclass(frozen=True)
class Demo:
    """A project root with the demo profile, and what its first run said."""

    root: Path
    first: subprocess.CompletedProcess

    def command(self, *arguments: str) -> subprocess.CompletedProcess:
        """Run run_all.py on this root, without data at hand."""
        return run_all(self.root, *arguments)

    def receipt(self, name: str) -> dict:
        """The receipt of `stage/run`."""
        return json.loads((self.folder(name) / "receipt.json").read_text())

    def folder(self, name: str) -> Path:
        """The folder of `stage/run`."""
        return self.root / "data" / "runs" / "demo" / name

    def would_run(self, *arguments: str) -> dict[str, str]:
        """`stage/run` -> reason, of what `plan` says would run."""
        done = self.command("plan", *arguments)
        assert done.returncode == 0, done.stderr
        lines = re.findall(r"^(\S+)  +run  +(.+)$", done.stdout, re.MULTILINE)
        names = {(n if "/" in n else f"{n}/default"): reason for n, reason in lines}
        assert done.stdout.endswith(f"{len(names)} of {len(RUNS)} would run\n")
        return names


def run_all(root: Path, *arguments: str) -> subprocess.CompletedProcess:
    """`run_all.py` on the project below `root`."""
    environment = {**os.environ, "GENOMELM_ROOT": str(root)}
    environment.pop("GENOMELM_DATA", None)
    return subprocess.run(
        [sys.executable, str(REPOSITORY / "run_all.py"), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        cwd=root,
    )


def make_small(text: str) -> str:
    """A parameter file whose stages have the values of SMALL, and everything else as it was."""
    content = load_yaml(text, "demo.yaml")
    for stage, values in SMALL.items():
        block = content[stage] or {}
        grouped = "runs" in block or "matrix" in block
        content[stage] = (
            {**block, "common": {**(block.get("common") or {}), **values}}
            if grouped
            else {**block, **values}
        )
    return yaml.safe_dump(content, sort_keys=False)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """The demo profile, small, after its first run."""
    root = tmp_path_factory.mktemp("demo")
    for name in ("notebooks", "params"):
        shutil.copytree(REPOSITORY / name, root / name)
    (root / "data").mkdir()
    shutil.copy(REPOSITORY / "data" / "registry.tsv", root / "data")
    parameters = root / "params" / "demo.yaml"
    parameters.write_text(make_small(parameters.read_text()))
    return Demo(root, run_all(root, "run", "--jobs", "2"))


pytestmark = pytest.mark.slow


def test_small_only_changes_sizes():
    before = load_yaml(paths.params_file("demo").read_text(), "demo.yaml")
    after = load_yaml(make_small(paths.params_file("demo").read_text()), "demo.yaml")
    assert list(after) == list(before)
    assert after["04_pretraining"]["matrix"] == before["04_pretraining"]["matrix"]
    assert after["profile"] == before["profile"]


def test_first_run_leaves_receipts_tables_and_figures(demo):
    assert demo.first.returncode == 0, demo.first.stdout + demo.first.stderr
    assert f"{len(RUNS)} to run, 0 up to date" in demo.first.stdout
    found = {
        f"{path.parent.parent.name}/{path.parent.name}"
        for path in demo.root.glob("data/runs/demo/*/*/receipt.json")
    }
    assert found == RUNS
    for name in RUNS:
        folder, receipt = demo.folder(name), demo.receipt(name)
        assert (folder / "log.txt").is_file()
        assert (folder / "executed.ipynb").is_file()
        assert receipt["inputs"] == {}, "the demo needs no data"
        assert {"numpy", "torch", "papermill"} <= set(receipt["versions"])
        assert receipt["wall_s"] > 0
        assert receipt["peak_memory_mib"] > 0
        assert set(receipt["parents"]) == set(receipt["parent_results"])
        for stem in (path.stem for path in folder.glob("figures/*.svg")):
            assert (folder / "figures" / f"{stem}.png").stat().st_size > 1000
            assert (folder / "figures" / f"{stem}.txt").read_text().strip()
        if name != "00_environment/default":
            assert any(folder.glob("figures/*.svg")), f"{name} drew nothing"
        tables = list(folder.glob("tables/*.csv"))
        assert tables, f"{name} has no table"
        for table in tables:
            rows = pd.read_csv(table)
            assert len(rows.columns), table
            assert len(rows) or table.stem in MAY_BE_EMPTY, f"{table} is empty"


def test_work_folders_are_gone(demo):
    left = [
        *demo.root.glob("data/runs/demo/*/*.partial"),
        *demo.root.glob("data/runs/demo/*/*.ol*"),
    ]
    assert not left
    assert not list(demo.root.glob("data/runs/demo/*/*.failed"))
    assert not list(demo.root.glob("data/runs/demo/*/*/job.json"))


def test_report_has_a_page_for_every_run(demo):
    site = demo.root / "data" / "report" / "demo"
    index = (site / "index.html").read_text()
    for name in RUNS:
        assert (site / "runs" / name / "index.html").is_file()
        assert f"runs/{name}/index.html" in index
    assert "figure1_ranking" in index
    assert f"{len(RUNS)} of {len(RUNS)}" in index


def test_models_load_with_transformers_alone(demo):
    from transformers import AutoTokenizer, BertForMaskedLM

    final = demo.folder("04_pretraining/genemask") / "checkpoints" / "final"
    model = BertForMaskedLM.from_pretrained(final)
    ids = AutoTokenizer.from_pretrained(final)("GATTAC ATTACA TTACAG")["input_ids"]
    assert ids == [2, 3159, 333, 1320, 3]
    assert model.config.vocab_size == 4101


def test_second_run_executes_nothing(demo):
    def stamps() -> dict[str, int]:
        files = [p for p in (demo.root / "data" / "runs").rglob("*") if p.is_file()]
        return {str(p): p.stat().st_mtime_ns for p in files if p.name != "running.json"}

    before = stamps()
    second = demo.command("run")
    assert second.returncode == 0, second.stderr
    assert second.stdout == f"profile demo: all {len(RUNS)} runs are up to date\n"
    assert {n for n, stamp in stamps().items() if before.get(n) != stamp} <= {
        n for n in before if n.endswith("lock")
    }
    assert demo.would_run() == {}


def test_verify_finds_every_output_as_the_receipt_recorded_it(demo):
    lines = demo.command("verify").stdout.splitlines()
    for name in RUNS:
        assert f"[OK]   {name}: expected up to date" in lines
        assert any(re.match(rf"\[OK\] +{name}: expected \d+ outputs as", line) for line in lines)
    table = demo.folder("02_pmi_ranking/default") / "tables" / "ranking.csv"
    content = table.read_bytes()
    digit = b"7" if content[-2:-1] != b"7" else b"8"
    table.write_bytes(content[:-2] + digit + content[-1:])
    try:
        done = demo.command("verify")
    finally:
        table.write_bytes(content)
    assert done.returncode == 1
    assert "changed: tables/ranking.csv" in done.stdout
    assert "demo: not reproduced" in done.stdout


@pytest.mark.parametrize(
    ("setting", "expected", "reason"),
    [
        (
            "05_fewshot/splice.draws=2",
            {"05_fewshot/splice", *FIGURES},
            "parameters (draws: 1 -> 2)",
        ),
        (
            "04_pretraining/genemask.steps=7",
            {"04_pretraining/genemask", *FEWSHOT, *INTERPRETED, *FIGURES},
            "parameters (steps: 6 -> 7)",
        ),
        ("02_pmi_ranking.min_count=2",
         {"02_pmi_ranking/default", *MOTIFS, *PRETRAINING, *FEWSHOT, *INTERPRETED, *FIGURES},
         "parameters (min_count: 1 -> 2)"),
        ("03_tokenizers.ks=[3]", {*TOKENIZERS, *SPECIES, *VOCABULARIES},
         "parameters (ks: [3, 6] -> [3])"),
        (
            "10_clustering_binning.seeds=3",
            CLUSTERING,
            "parameters (seeds: 2 -> 3)",
        ),
        ("01_data.n_per_class=61",
         RUNS - {"00_environment/default", *ACTIVITY},
         "parameters (n_per_class: 60 -> 61)"),
    ],
    ids=lambda value: value.split("=")[0] if isinstance(value, str) and "=" in value else "",
)  # fmt: skip
def test_a_changed_parameter_reaches_what_reads_it_and_nothing_else(
    demo, setting, expected, reason
):
    reasons = demo.would_run("--set", setting)
    assert set(reasons) == expected
    assert reasons[min(expected)] == reason
    assert all(
        text.startswith("parent (") for name, text in reasons.items() if name[:2] != setting[:2]
    )


@pytest.fixture
def edit_module(demo: Demo) -> Iterator:
    """A function that puts an edited copy of a package module below the demo's root."""

    def edit(name: str, old: str, new: str) -> None:
        text = (REPOSITORY / name).read_text()
        assert text.count(old) == 1, f"{name} no longer holds {old!r} once"
        copy = demo.root / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(text.replace(old, new))

    yield edit
    shutil.rmtree(demo.root / "genomelm_utils", ignore_errors=True)


@pytest.mark.parametrize(
    ("module", "old", "new", "expected"),
    [
        ("pretraining/experiment.py", "MARKOV_ORDER = 5", "MARKOV_ORDER = 4", PRETRAINING),
        ("pretraining/experiment.py", "MARKOV_ORDER = 5", "# why\nMARKOV_ORDER = 5  # how", set()),
        ("figures/genemask_summary.py", '"mcc")', '"mcc", "f2")', FIGURES),
        ("figures/fewshot.py", '"""', '"""Other words. ', set()),
        ("tokenizers/usage.py", "RANKS_KEPT = 200", "RANKS_KEPT = 201", TOKENIZERS),
    ],
)
def test_a_changed_constant_reruns_what_uses_it_and_a_comment_nothing(
    demo, edit_module, module, old, new, expected
):
    name = f"genomelm_utils/{module}"
    if old == '"""':  # the first one opens the module's docstring
        old = (REPOSITORY / name).read_text().splitlines()[0]
        new = old.replace('"""', new, 1)
    edit_module(name, old, new)
    reasons = demo.would_run()
    dotted = name.removesuffix(".py").replace("/", ".")
    assert {n for n, reason in reasons.items() if reason == f"package code ({dotted})"} == expected
    assert all(r.startswith("parent (") for n, r in reasons.items() if n not in expected)
    assert bool(reasons) == bool(expected)


def test_changed_notebook_code_and_changed_words(demo):
    path = demo.root / "notebooks" / "03_tokenizers.ipynb"
    text = path.read_text()
    try:
        path.write_text(text.replace("**Question.**", "**What is asked.**"))
        assert demo.would_run() == {}
        path.write_text(text.replace("n_bases=12", "n_bases=13"))
        reasons = demo.would_run()
        assert set(reasons) == {*TOKENIZERS, *SPECIES, *VOCABULARIES}
        assert {reasons[name] for name in TOKENIZERS} == {"notebook code"}
    finally:
        path.write_text(text)


def test_a_failing_stage_leaves_the_earlier_results(demo):
    """A training that cannot start: three lines at the end, and all that was there stands."""
    name = "04_pretraining/span11"
    before = {p: p.read_bytes() for p in demo.folder(name).rglob("*") if p.is_file()}
    done = demo.command("run", "--only", name, "--set", f"{name}.match_hidden=0.0001")
    assert done.returncode == 1
    first, error, resume = done.stderr.strip().splitlines()[-3:]
    assert re.fullmatch(rf"FAILED {name} at cell \d+", first)
    assert re.match(r"ValueError: span11 hides 0\.\d+ of the bases with one centre per row", error)
    assert resume.startswith("resume: python run_all.py run --profile demo --from 04_pretraining")
    assert {p: p.read_bytes() for p in demo.folder(name).rglob("*") if p.is_file()} == before
    assert demo.would_run() == {}
    shutil.rmtree(demo.folder(name).with_name("span11.failed"))


def test_forced_runs_give_the_same_tables_and_figures_to_the_byte(demo):
    """A forced training leaves another log of times, which makes none of its readers stale."""

    def hashes() -> dict[str, str]:
        return {
            f"{name}/{output}": about["sha256"]
            for name in sorted(RUNS)
            for output, about in demo.receipt(name)["outputs"].items()
            if output.startswith(("tables/", "figures/")) or output.endswith(".safetensors")
        }

    def force(*selection: str) -> set[str]:
        started = {name: demo.receipt(name)["started"] for name in RUNS}
        done = demo.command("run", "--force", "--jobs", "2", *selection)
        assert done.returncode == 0, done.stdout + done.stderr
        return {name for name in RUNS if demo.receipt(name)["started"] != started[name]}

    before = hashes()
    assert force("--until", "02_pmi_ranking") == {"01_data/simulated", "02_pmi_ranking/default"}
    assert demo.would_run() == {}, "the same results make nothing below them stale"
    model = "04_pretraining/genemask"
    assert force("--only", model) == {model}
    assert demo.would_run() == {}
    splice = "05_fewshot/splice"
    assert force("--only", splice, "--only", "13_figures_genemask") == {splice, *FIGURES}
    assert demo.would_run() == {}
    after = hashes()
    assert {name for name in before if before[name] != after.get(name)} == set()
    assert set(after) == set(before)
