"""The profiles that ship: they fit the notebooks and their expected ranges; data has a source."""

import re
from dataclasses import asdict
from fnmatch import fnmatchcase

import pytest

from genomelm_utils import paths
from genomelm_utils.datasets.make_registry import make_registry
from genomelm_utils.motifs.rgadem import PAPER_MOTIFS, PAPER_PARAMETERS, PAPER_SEED
from genomelm_utils.pipeline.profile import load_profile
from genomelm_utils.pipeline.verify import read_ranges
from genomelm_utils.tasks.regression_inputs import PUBLISHED

PROFILES = ("demo", "small", "paper")
STAGES = [
    "00_environment",
    "01_data",
    "02_pmi_ranking",
    "03_tokenizers",
    "04_pretraining",
    "05_fewshot",
]


@pytest.mark.parametrize("name", PROFILES)
def test_profile_fits_the_notebooks(name):
    """Every value has the type, the range and the name that a parameters cell asks for."""
    profile = load_profile(name)
    assert profile.description
    assert set(profile.runs) >= {
        *STAGES,
        "11_motifs",
        "13_figures_genemask",
        "13_figures_genomicbert",
        "13_figures_expression",
        "13_figures_species",
        "13_figures_activity",
    }


@pytest.mark.parametrize("name", PROFILES)
def test_expected_ranges_are_about_runs_of_the_profile(name):
    """`verify` calls a range without a run a failure; so none may be about a run that is gone."""
    runs = [f"{s}/{run}" for s, runs in load_profile(name).runs.items() for run in runs]
    for expected in read_ranges(name):
        assert any(fnmatchcase(run, expected.runs) for run in runs), expected
        assert expected.why


def test_demo_and_small_have_expected_ranges():
    for name in ("demo", "small"):
        stages = {expected.runs.split("/")[0] for expected in read_ranges(name)}
        assert {*STAGES, "11_motifs"} - {"00_environment"} <= stages, name


def test_demo_needs_no_data():
    profile = load_profile("demo")
    for stage, runs in profile.runs.items():
        for parameter in profile.schemas[stage].parameters:
            if parameter.is_data:
                assert not any(values[parameter.name] for values in runs.values())


def test_paper_has_the_published_values():
    """Source: the released pretraining and fine-tuning scripts (specification, 2.5 and 2.7)."""
    profile = load_profile("paper")
    script = {
        "k": 6,
        "steps": 10_000,
        "warmup_steps": 500,
        "peak_lr": 8e-4,
        "rows_per_step": 250,
        "eval_every": 500,
        "save_every": 1000,
        "max_positions": 512,
        "max_bases": 511,
        "seed": 42,
    }
    for run, values in profile.runs["04_pretraining"].items():
        assert {name: values[name] for name in script} == script, run
    reference = {"corrupt": "token", "attend_pads": True, "rule": "reference"}
    centre_prob = {"contiguous": 0.025, "genemask_reference": 0.0176}
    for run, values in profile.runs["04_pretraining"].items():
        if run.endswith("-reference"):
            assert {name: values[name] for name in reference} == reference, run
            assert values["centre_prob"] == centre_prob[values["scheme"]], run
        else:
            assert (values["corrupt"], values["attend_pads"], values["rule"]) == (
                "span",
                False,
                "crops",
            )
    assert {values["lr_factor"] for values in profile.runs["05_fewshot"].values()} == {1.0}
    assert profile.resources["04_pretraining"].gpu == 1


def test_paper_has_the_published_vocabulary():
    """Source: DNABERT-S, which keeps the tokenizer of DNABERT-2 (specification, 2.1 and 2.6)."""
    profile = load_profile("paper")
    runs = dict(profile.runs["03_tokenizers"])
    contigs = runs.pop("haemophilus")  # genomeNLP, manual: -v 10000 and -b of 2^9 to 2^20
    assert contigs["unigram_vocab"] == 10_000 and contigs["published_overlap"]
    assert contigs["contig_lengths"] == [2**n for n in range(9, 21)]
    assert {name: values["bpe_vocab"] for name, values in runs.items()} == {
        "published": 0,
        "trained": 4096,
    }
    assert runs["published"]["tokenizer_folder"]
    assert {values["genome"] for values in runs.values()} == {"genbank"}
    n_genomes = 17_636 + 5_011 + 6_402  # viral, fungal, bacterial (specification, 3.1)
    assert profile.runs["01_data"]["genbank"]["n_train"] == round(0.9 * n_genomes)


def test_paper_has_the_published_evaluation_of_species():
    """Source: DNABERT-S, 12 sets for clustering and 6 for binning (specification, 4.1 to 4.4)."""
    runs = load_profile("paper").runs["10_clustering_binning"]
    tables = {values["files"][0]: values for values in runs.values() if values["files"]}
    n_of = {"reference": 2, "marine": 5, "plant": 5}
    names = {f"{source}/clustering_{i}.tsv" for source, n in n_of.items() for i in range(n)}
    names |= {f"{source}/binning_{i}.tsv" for source in n_of for i in (5, 6)}
    assert {name.removeprefix("data/raw/dnabert_s_eval/") for name in tables} == names
    for name, values in tables.items():
        assert values["contigs_from"] == "table"
        assert values["max_bp"] == (10_000 if "reference/clustering" in name else 20_000), name
        assert (values["bin_min_bp"], values["min_bin_size"], values["seeds"]) == (2500, 10, 5)


def test_paper_trains_once_with_sequencing_errors():
    runs = load_profile("paper").runs["09_species_pretraining"]
    rates = {name: values["error_rate"] for name, values in runs.items() if values["error_rate"]}
    assert rates == {"corrected-errors": 0.1}
    differs = {k for k, v in runs["corrected"].items() if runs["corrected-errors"][k] != v}
    assert differs == {"error_rate"}


def test_paper_has_the_published_pretraining_and_fine_tuning_of_florabert():
    """Source: its config.yaml and the preprint (rs-1927200/v1); both forms of each slip."""
    runs = load_profile("paper").runs["07_expression"]
    pairs = {name.removesuffix("-reference") for name in runs if name.endswith("-reference")}
    assert pairs == {"repository", "preprint", "unfreezing"}
    for name in pairs:
        released, right = runs[f"{name}-reference"], runs[f"{name}-corrected"]
        differs = {key for key, value in released.items() if right[key] != value}
        slips = {key for key in released if released[key] == "reference"}
        assert differs == slips | {"data", "start_at_mean"}, name
        assert {right[key] for key in slips} == {"corrected"}
    for name, settings in PUBLISHED.items():
        values = runs[f"{name}-reference"]
        found = {key: values[key] for key in asdict(settings) if key in values and key != "mode"}
        expected = {key: value for key, value in asdict(settings).items() if key in found}
        assert found == expected, name
    published = {"vocab": 5005, "alphabet": "bytes", "max_tokens": 256, "preset": "florabert"}
    for name in ("repository-reference", "preprint-reference"):
        assert {key: runs[name][key] for key in published} == published
        assert len(runs[name]["tissues"]) == 9
    pretraining = ("rows_per_step", "pretrain_lr", "pretrain_warmup_steps", "pretrain_optimizer")
    assert [runs["repository-reference"][key] for key in pretraining] == [1600, 1e-4, 50, "lamb"]
    assert [runs["preprint-reference"][key] for key in pretraining] == [84, 1e-3, 200, "lamb"]
    assert {values["pretrain_optimizer"] for values in runs.values()} == {"lamb", "adamw"}


def test_paper_has_the_published_call_of_rgadem():
    """Source: the released R script of GeneMask (specification, 2.8)."""
    runs = load_profile("paper").runs["11_motifs"]
    rows = {name: values["max_sequences"] for name, values in runs.items()}
    assert rows == {"Prom-core": 2000, "Prom-300": 1000, "Cohn-enh": 1000}
    call = PAPER_PARAMETERS | {"engine": "rgadem", "n_motifs": PAPER_MOTIFS, "seed": PAPER_SEED}
    small = load_profile("small").runs["11_motifs"]
    for values in (
        *runs.values(),
        small["foxa1-rgadem"],
        small["Prom-core"] | {"engine": "rgadem"},
    ):
        assert {name: values[name] for name in call} == call
        assert values["options"] == {}


def test_every_line_of_settings_common_to_the_paper_has_its_source():
    """The blocks `common:` of 02 and 04 hold the published values, each with where it stands."""
    text = paths.params_file("paper").read_text()
    for stage in ("02_pmi_ranking", "04_pretraining", "11_motifs"):
        block = re.search(rf"^{stage}:\n(.*?)^  runs:", text, re.MULTILINE | re.DOTALL).group(1)
        lines = re.findall(r"^    (\w+): [\d.]+(.*)$", block, re.MULTILINE)
        assert lines
        assert [name for name, rest in lines if "#" not in rest] == []


def test_registry_is_made_from_the_manifest(data_dir):
    manifest = data_dir / "MANIFEST.tsv"
    if not manifest.is_file():
        pytest.skip("the data folder has no MANIFEST.tsv to make the registry from")
    assert make_registry(manifest) == paths.registry_file().read_text()
