"""pyproject.toml, constraints.txt, environment.yml and the Makefile name one environment."""

import os
import re
import shutil
import subprocess
import sys
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

from genomelm_utils import paths

PROJECT = tomllib.loads((paths.ROOT / "pyproject.toml").read_text())["project"]
OPTIONAL = PROJECT["optional-dependencies"]
REQUIREMENTS = [
    Requirement(line) for group in [PROJECT["dependencies"], *OPTIONAL.values()] for line in group
]
ENVIRONMENTS = [
    {"python_version": v, "python_full_version": f"{v}.0", "sys_platform": "linux"}
    for v in ("3.11", "3.12")
]
FIXED_BY_THE_USER = {
    *("jupyterlab", "papermill", "torch", "transformers", "tokenizers", "datasets", "pandas"),
    *("seaborn", "matplotlib", "captum", "weightwatcher", "rpy2", "pyfaidx"),
}


class UniqueKeyLoader(yaml.SafeLoader):
    """YAML that refuses a key given twice."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"key given twice in {node.start_mark}"
        return super().construct_mapping(node, deep)


def pins(environment: dict[str, str]) -> dict[str, Version]:
    """Exact version of every package that constraints.txt names for one Python."""
    found = {}
    for line in (paths.ROOT / "constraints.txt").read_text().splitlines():
        requirement = Requirement(line)
        assert [s.operator for s in requirement.specifier] == ["=="], (
            f"not an exact version: {line}"
        )
        if requirement.marker is None or requirement.marker.evaluate(environment):
            name = requirement.name.lower().replace("_", "-")
            assert name not in found, f"constraints.txt names {name} twice for {environment}"
            found[name] = Version(next(iter(requirement.specifier)).version)
    return found


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=lambda e: e["python_version"])
def test_every_requirement_has_one_exact_version_inside_its_range(environment):
    pinned = pins(environment)
    for requirement in REQUIREMENTS:
        if requirement.marker is not None and not requirement.marker.evaluate(environment):
            continue
        name = requirement.name.lower()
        assert name in pinned, f"constraints.txt lacks {name}"
        assert pinned[name] in requirement.specifier, (
            f"constraints.txt has {name} {pinned[name]}, outside {requirement.specifier}"
        )


def test_constraints_have_no_local_versions_and_no_addresses():
    text = (paths.ROOT / "constraints.txt").read_text()
    assert "+" not in text and "://" not in text and " @ " not in text
    assert not re.search(r"^-", text, flags=re.M), "options such as --index-url do not belong here"


def test_torch_is_the_version_that_brings_no_other_one_in():
    assert str(pins(ENVIRONMENTS[0])["torch"]) == "2.13.0"
    assert not {"torchvision", "torchaudio"} & set(pins(ENVIRONMENTS[0]))


def test_packages_fixed_by_the_user_are_all_asked_for():
    names = {requirement.name for requirement in REQUIREMENTS}
    assert names >= FIXED_BY_THE_USER


def read_conda() -> dict:
    """environment.yml as a dict, refusing repeated keys."""
    return yaml.load((paths.ROOT / "environment.yml").read_text(), Loader=UniqueKeyLoader)


def test_environment_yml_is_well_formed():
    conda = read_conda()
    assert set(conda) == {"name", "channels", "dependencies"}
    plain = [entry for entry in conda["dependencies"] if isinstance(entry, str)]
    names = [re.split(r"[<>=! ]", entry)[0] for entry in plain]
    assert len(names) == len(set(names)), "a package is named twice"
    assert {"python", "pip", "r-base", "rpy2", "bioconductor-rgadem"} <= set(names)
    assert "pytorch" not in names, "torch comes from pip alone: two builds would fight"


def test_environment_yml_specs_parse_as_conda_reads_them():
    rattler = pytest.importorskip("rattler", reason="py-rattler reads conda specs offline")
    for entry in read_conda()["dependencies"]:
        if isinstance(entry, str):
            rattler.MatchSpec(entry, strict=True)


def test_environment_yml_agrees_with_pyproject_and_makefile():
    conda = read_conda()
    python = next(e for e in conda["dependencies"] if str(e).startswith("python="))
    assert (
        Version(python.split("=")[1] + ".0")
        in Requirement(f"x{PROJECT['requires-python']}").specifier
    )
    (pip,) = [entry["pip"] for entry in conda["dependencies"] if isinstance(entry, dict)]
    makefile = (paths.ROOT / "Makefile").read_text()
    extras = re.search(r"^EXTRAS\s*=\s*(\S+)", makefile, flags=re.M).group(1)
    assert pip == ["-c constraints.txt", f"-e .[{extras}]"]
    assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])


def test_no_file_names_a_package_registry():
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=paths.ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\n")
    hosts = re.compile(
        "|".join(["py" + r"pi\.org", "python" + "hosted", "anaconda" + r"\.(org|com)"])
    )
    for name in filter(None, tracked):
        file = paths.ROOT / name
        if file.suffix not in {".png", ".svg", ".npy", ".npz"} and file.is_file():
            assert not hosts.search(file.read_text(errors="ignore")), (
                f"{name} names a registry host"
            )


def test_package_imports_with_torch_numpy_and_pandas_only():
    """The rooms that a bare GPU machine needs load without what it lacks."""
    code = """
import sys
import transformers  # with whatever it takes along
from transformers import BertForMaskedLM, BertForSequenceClassification, PreTrainedTokenizerFast
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in BLOCKED:
            raise ModuleNotFoundError(f"{name} is not on a bare GPU machine", name=name)
BLOCKED = {'numba','accelerate','pyfaidx','pooch','matplotlib','seaborn','yaml','datasets',
           'papermill','nbformat','nbconvert','snakemake','captum','jinja2','tensorboard',
           'dnaio','sklearn','scipy','pyarrow'}
sys.meta_path.insert(0, Missing())
for name in [name for name in sys.modules if name.split('.')[0] in BLOCKED]:
    del sys.modules[name]
import importlib
for name in MODULES:
    importlib.import_module(name)
"""
    modules = [
        "genomelm_utils",
        "genomelm_utils.sequences.alphabet",
        "genomelm_utils.sequences.kmers",
        "genomelm_utils.sequences.genome",
        "genomelm_utils.tokenizers.kmer",
        "genomelm_utils.tokenizers.bpe",
        "genomelm_utils.models.presets",
        "genomelm_utils.models.alibi_bert",
        "genomelm_utils.training.loop",
        "genomelm_utils.pretraining.masking",
        "genomelm_utils.pretraining.corpus",
        "genomelm_utils.pretraining.mlm",
        "genomelm_utils.tasks.classification",
        "genomelm_utils.tasks.contrastive",
        "genomelm_utils.tasks.embedding",
        "genomelm_utils.tasks.embedding_files",
        "genomelm_utils.tasks.species_training",
        "genomelm_utils.evaluation.binning",
        "genomelm_utils.models.promoter_nets",
        "genomelm_utils.interpretation.motif_insertion",
        "genomelm_utils.evaluation.metrics",
    ]
    subprocess.run([sys.executable, "-c", f"MODULES = {modules!r}\n{code}"], check=True)


@pytest.mark.parametrize("target", ["run", "test", "lab", "gpu-check", "clean"])
@pytest.mark.parametrize("data", [None, "/some/folder"])
def test_every_make_target_is_understood(target, data):
    make = shutil.which("make")
    if make is None:
        pytest.skip("needs make")
    environment = {k: v for k, v in os.environ.items() if k not in ("GENOMELM_DATA", "MAKEFLAGS")}
    if data:
        environment["GENOMELM_DATA"] = data
    shown = subprocess.run(
        [make, "--dry-run", target], cwd=paths.ROOT, env=environment, capture_output=True, text=True
    )
    assert shown.returncode == 0, shown.stderr
    assert "python" in shown.stdout or target == "clean"
