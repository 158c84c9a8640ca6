"""Sequences, methods and tables of notebook 10: in a real tiny project, and on toy features."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from genomelm_utils import paths
from genomelm_utils.baselines.species_features import species_features
from genomelm_utils.datasets.prepare import prepare
from genomelm_utils.datasets.species import open_genome_set
from genomelm_utils.datasets.species_contigs import Contigs
from genomelm_utils.evaluation.binning import bin_contigs
from genomelm_utils.evaluation.binning_scores import reference_scores
from genomelm_utils.evaluation.binning_threshold import labelled_threshold
from genomelm_utils.evaluation.clustering import cluster_scores
from genomelm_utils.evaluation.feature_rows import unit_rows
from genomelm_utils.evaluation.species_classification import few_shot_scores
from genomelm_utils.figures.species_verdict import describe_binning
from genomelm_utils.models.alibi_bert import AlibiBertModel, alibi_config
from genomelm_utils.pipeline.context import open_run
from genomelm_utils.pipeline.params import read_schema
from genomelm_utils.pipeline.receipts import Receipt, collect_outputs, write_receipt
from genomelm_utils.sequences.alphabet import decode, encode
from genomelm_utils.sequences.fasta import write_fasta
from genomelm_utils.tasks import species_sets
from genomelm_utils.tasks.species_benchmark import (
    bin_methods,
    classify_methods,
    cluster_methods,
    describe_features,
    map_species,
)
from genomelm_utils.tasks.species_sets import (
    Embedded,
    describe_sequences,
    draw_halves,
    embed_all,
    fuse_rows,
    is_trained,
    open_models,
    open_sequences,
)
from genomelm_utils.tokenizers.bpe import train_bpe_on_store

NAME, MODELS = "10_clustering_binning", "09_species_pretraining"
NOTEBOOK = paths.notebook_file(NAME)
SMALL = {
    "n_per_genome": 12, "length_bp": 400, "spread": 0.1, "bin_min_bp": 200, "min_bin_size": 3,
    "kmer_steps": 2, "kmer_window_bp": [300], "shots": [1, 3], "seeds": 2, "max_map": 20,
}  # fmt: skip


def finish(stage: str, run: str) -> None:
    """A receipt for a run folder of the demo profile."""
    folder = paths.run_dir("demo", stage, run)
    (folder / "tables").mkdir(parents=True, exist_ok=True)
    receipt = Receipt(
        profile="demo", stage=stage, run=run, key="k", params={}, notebook="n", modules={},
        inputs={}, parents={}, parents_by_param={}, parent_results={},
        outputs=collect_outputs(folder),
    )  # fmt: skip
    write_receipt(folder, receipt)


def save_model(folder, tokenizer, seed: int) -> None:
    """A tiny encoder with random weights and its tokenizer."""
    sizes = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 32}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        AlibiBertModel(alibi_config("micro", vocab_size=64, **sizes)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project with simulated species and two runs of stage 09, one of them without `mlm`."""
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("project")
        patch.setattr(paths, "ROOT", root)
        patch.delenv("GENOMELM_JOB", raising=False)
        (root / "notebooks").mkdir()
        shutil.copy(NOTEBOOK, root / "notebooks")
        prepared = prepare(
            "species", paths.run_dir("demo", "01_data", "species"), [], n_bases=1, promoter_bp=1,
            n_per_class=1, word_bp=6, seed=1, n_species=7, species_bp=12_000, n_train=3,
        )  # fmt: skip
        finish("01_data", "species")
        tokenizer = train_bpe_on_store(prepared.store, 64, 20_000, seed=0)
        for seed, run in enumerate(("one", "two"), 1):
            folder = paths.run_dir("demo", MODELS, run) / "checkpoints"
            save_model(folder / "untrained", tokenizer, 0)
            save_model(folder / "final", tokenizer, seed)
            if run == "one":
                save_model(folder / "mlm", tokenizer, 5)
            finish(MODELS, run)
        yield root


def open_with(**changes):
    defaults = read_schema(paths.notebook_file(NAME)).defaults
    return open_run(NAME, defaults | SMALL | changes)


@pytest.fixture
def genomes(project):
    return open_genome_set(paths.run_dir("demo", "01_data", "species") / "species")


def species_of(genomes, part: str) -> list[str]:
    return sorted(genomes.table["species"][genomes.table["part"] == part])


# --- sequences ------------------------------------------------------------------------------------


def test_contigs_are_cut_from_test_species_alone(project, genomes):
    found = open_sequences(open_with())
    assert sorted(set(found.contigs.species)) == species_of(genomes, "test")
    assert found.counts["n_used"].tolist() == [12] * 4
    assert not found.counts["seen"].any()
    assert found.counts["total_bp"].sum() == found.contigs.lengths.sum()
    assert len(found.skipped) == 0
    low, high = found.contigs.lengths.min(), found.contigs.lengths.max()
    assert 100 <= low < 400 < high
    assert describe_sequences(found).startswith(
        f"48 sequences of 4 species that were not trained on, {low} to {high} bp"
    )
    again = open_sequences(open_with())
    assert again.contigs.names == found.contigs.names
    assert all(map(np.array_equal, again.contigs.codes, found.contigs.codes))


def test_long_sequences_are_cut_and_species_thinned_out(project):
    found = open_sequences(open_with(max_bp=150, max_per_species=5)).contigs
    assert found.lengths.tolist() == [150] * 20
    other = open_sequences(open_with(max_bp=150, max_per_species=5, seed=2)).contigs
    assert found.names != other.names


@pytest.fixture
def contigs_file(project, genomes, tmp_path):
    """Contigs of two test species and a trained one, one N-only, one unknown: FASTA and TSV."""
    rng = np.random.default_rng(0)
    a, b = species_of(genomes, "test")[:2]
    species = [a] * 3 + [b] * 3 + [species_of(genomes, "train")[0]] * 2 + [a]
    codes = [rng.integers(0, 4, 120).astype(np.uint8) for _ in species]
    codes[2] = encode("ACN" * 40)  # no four definite bases in a row
    names = [f"c{i}" for i in range(len(species))]
    write_fasta(tmp_path / "contigs.fa", [*names, "stranger"], [*codes, codes[0]])
    pd.DataFrame({"contig": names, "species": species}).to_csv(
        tmp_path / "truth.tsv", sep="\t", index=False
    )
    return [str(tmp_path / "truth.tsv"), str(tmp_path / "contigs.fa")]


def test_contigs_of_a_file_are_those_of_species_not_trained_on(contigs_file, genomes):
    found = open_sequences(open_with(contigs_from="files", files=contigs_file))
    assert found.contigs.names == ["c0", "c1", "c3", "c4", "c5", "c8"]
    counts = found.counts.set_index("species")
    trained = species_of(genomes, "train")[0]
    assert counts.loc[trained, ["seen", "n_found", "n_used"]].tolist() == [True, 2, 0]
    assert dict(found.skipped.to_numpy()) == {
        "stranger": "not in truth.tsv",
        "c2": "no 4 definite bases in a row among 120 bp",
    }
    text = describe_sequences(found)
    assert "1 species (2 sequences) were." in text
    assert text.endswith("2 sequences were left out by name.")


def test_reads_and_tables_are_read(project, genomes, tmp_path):
    rng = np.random.default_rng(0)
    trained = species_of(genomes, "train")[0]
    kinds = ["A_alpha", "B_beta", trained]
    codes = [rng.integers(0, 4, 90).astype(np.uint8) for _ in range(9)]
    names = [f"{kinds[i % 3]}_HiSeq.{i}" for i in range(9)]
    write_fasta(tmp_path / "reads.fa", names, codes)
    found = open_sequences(open_with(contigs_from="reads", files=[str(tmp_path / "reads.fa")]))
    assert set(found.contigs.species) == {"A_alpha", "B_beta"}
    rows = [f"{decode(one)}\t{kinds[i % 3]}" for i, one in enumerate(codes)]
    (tmp_path / "table.tsv").write_text("sequence\tlabel\n" + "\n".join(rows) + "\n")
    found = open_sequences(open_with(contigs_from="table", files=[str(tmp_path / "table.tsv")]))
    assert found.contigs.species == ["A_alpha", "B_beta"] * 3


def test_wrong_files_are_explained(contigs_file, project, genomes, tmp_path):
    with pytest.raises(ValueError, match=r"'files', which takes 2 files, but `files` names 0"):
        open_sequences(open_with(contigs_from="files"))
    with pytest.raises(ValueError, match=r"'cut', which takes 0 files, but `files` names 2"):
        open_sequences(open_with(files=contigs_file))
    with pytest.raises(ValueError, match=r"0 end in .tsv or .tsv.gz, expected a FASTA file and"):
        open_sequences(open_with(contigs_from="files", files=[contigs_file[1]] * 2))
    trained = species_of(genomes, "train")[0]
    write_fasta(tmp_path / "r.fa", [f"{trained}_HiSeq.1"], [encode("ACGTACGT")])
    with pytest.raises(ValueError, match="all 1 sequences are of species that were trained on"):
        open_sequences(open_with(contigs_from="reads", files=[str(tmp_path / "r.fa")]))
    write_fasta(tmp_path / "r.fa", ["A_a_HiSeq.1", "B_b_HiSeq.2"], [encode("ACGTACGT")] * 2)
    with pytest.raises(ValueError, match="fewer than two species have 2 sequences or more"):
        open_sequences(open_with(contigs_from="reads", files=[str(tmp_path / "r.fa")]))


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("Escherichia coli", True), ("Escherichia coli K12", True), ("E_coli", True),
        ("E. coli", True), ("Escherichia_coli", True), ("E_albertii", False),
        ("Escherichia albertii", False), ("Entamoeba coli", False), ("Escherichia", False),
        ("species1", True), ("species10", False),
    ],
)  # fmt: skip
def test_a_trained_species_is_known_by_its_strains_and_initial(name, known):
    assert is_trained(name, ["Escherichia coli", "species1"]) is known


# --- methods --------------------------------------------------------------------------------------


def test_methods_of_one_run_are_its_checkpoints(project):
    models = open_models(open_with(models=["one"]))
    assert list(models) == ["trained", "mlm", "untrained"]
    assert models["trained"].parts[-2:] == ("checkpoints", "final")
    assert list(open_models(open_with(models=["two"]))) == ["trained", "untrained"]
    assert open_models(open_with(models=[])) == {}


def test_runs_stand_in_front_and_what_they_share_is_taken_once(project):
    assert list(open_models(open_with())) == ["one-trained", "two-trained", "one-mlm", "untrained"]


def test_published_models_are_named_after_their_folders(project, tmp_path):
    source = paths.run_dir("demo", MODELS, "one") / "checkpoints" / "final"
    for name in ("DNABERT-S", "other", "tnf"):
        shutil.copytree(source, tmp_path / name)
    folders = [str(tmp_path / name) for name in ("DNABERT-S", "other")]
    assert list(open_models(open_with(models=[], checkpoints=folders))) == ["published", "other"]
    with pytest.raises(ValueError, match=r"two methods have one name \(tnf\)"):
        open_models(open_with(models=[], checkpoints=[str(tmp_path / "tnf")]))


# --- embeddings -----------------------------------------------------------------------------------


def test_all_methods_embed_sequences_and_halves(project, monkeypatch):
    parts = []
    sampler = species_sets.PairSampler

    def record(genomes, part, **options):
        parts.append(part)
        return sampler(genomes, part, **options)

    monkeypatch.setattr(species_sets, "PairSampler", record)
    run = open_with(models=["one"])
    sequences = open_sequences(run)
    embedded = embed_all(run, sequences)
    assert list(embedded.features)[:4] == ["trained", "mlm", "untrained", "canonical_tnf"]
    assert set(species_sets.SPECIES_BASELINES) < set(embedded.features)
    for method, values in embedded.features.items():
        first, second = embedded.halves[method]
        assert values.dtype == first.dtype == np.float32
        assert len(values) == 48
        assert first.shape == second.shape == (48, values.shape[1])
    assert parts == ["train"]
    table = describe_features(embedded).set_index("method")
    assert table.loc["trained", ["n_sequences", "width", "n_halves"]].tolist() == [48, 32, 48]
    assert len(list(run.path("checkpoints/embeddings").glob("*.npy"))) == 3
    again = embed_all(open_with(models=["one"]), sequences)
    for method, values in embedded.features.items():
        assert np.array_equal(values, again.features[method]), method


def test_late_fusion_puts_unit_rows_beside_tnf_k(project):
    run = open_with(models=["one"], baselines=["tnf"], fuse_tnf=True)
    sequences = open_sequences(run)
    embedded = embed_all(run, sequences)
    assert list(embedded.features) == [
        "trained", "trained+tnf_k", "mlm", "untrained", "canonical_tnf", "tnf",
    ]  # fmt: skip
    fused, alone = embedded.features["trained+tnf_k"], embedded.features["trained"]
    counted = species_features("tnf_k", sequences.contigs.codes)
    assert (fused.dtype, fused.shape) == (np.float32, (48, 32 + 103))
    assert np.array_equal(fused[:, :32], unit_rows(alone))
    cosine = unit_rows(alone) @ unit_rows(alone).T, unit_rows(counted) @ unit_rows(counted).T
    both = unit_rows(fused) @ unit_rows(fused).T
    assert np.allclose(both, sum(cosine) / 2, atol=1e-6)
    assert np.allclose(fuse_rows(7 * alone, counted), fused, atol=1e-6)  # scale does not weigh
    first, second = embedded.halves["trained+tnf_k"]
    assert first.shape == second.shape == (48, 135)
    assert np.array_equal(second[:, :32], unit_rows(embedded.halves["trained"][1]))


def test_a_folder_named_like_a_fused_method_is_refused(project, tmp_path):
    source = paths.run_dir("demo", MODELS, "one") / "checkpoints" / "final"
    shutil.copytree(source, tmp_path / "trained+tnf_k")
    given = {"models": ["one"], "checkpoints": [str(tmp_path / "trained+tnf_k")]}
    assert "trained+tnf_k" in open_models(open_with(**given))
    with pytest.raises(ValueError, match="two methods have one name"):
        open_models(open_with(fuse_tnf=True, **given))


def test_canonical_tnf_is_always_there(project):
    run = open_with(models=[], baselines=["tnf"])
    assert list(embed_all(run, open_sequences(run)).features) == ["canonical_tnf", "tnf"]


def test_halves_are_of_long_contigs_and_countable():
    rng = np.random.default_rng(0)
    codes = [rng.integers(0, 4, n).astype(np.uint8) for n in (100, 40, 101)]
    codes.append(np.concatenate([codes[0][:50], encode("N" * 50)]))
    contigs = Contigs([*"abcd"], codes, ["s"] * 4, [""] * 4)
    first, second = draw_halves(contigs, 50, 10, seed=0)
    assert [len(one) for one in first] == [50, 50]
    assert [len(one) for one in second] == [50, 51]
    assert len(draw_halves(contigs, 20, 2, seed=0)[0]) <= 2
    assert draw_halves(contigs, 200, 10, seed=0) == ([], [])


# --- tables ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def toy():
    """60 contigs of 3 species: features that hold the species, that are noise, and in between."""
    rng = np.random.default_rng(3)
    labels_S = np.repeat(np.arange(3), 20)
    centres = np.eye(3)[labels_S]

    def draw(noise: float) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
        make = [centres + noise * rng.standard_normal((60, 3)) for _ in range(3)]
        values, first, second = (one.astype(np.float32) for one in make)
        return values, (first, second)

    found = {"trained": draw(0.05), "untrained": draw(5.0), "canonical_tnf": draw(0.5)}
    features, halves = ({name: pair[i] for name, pair in found.items()} for i in (0, 1))
    lengths = rng.integers(300, 400, 60)
    codes = [rng.integers(0, 4, n).astype(np.uint8) for n in lengths]
    names = [f"c{i}" for i in range(60)]
    species = [f"species {i}" for i in labels_S]
    return Embedded(features, halves), Contigs(names, codes, species, [""] * 60)


def test_clustering_tables(toy):
    embedded, contigs = toy
    found = cluster_methods(embedded.features, contigs.species, n_seeds=3, seed=1)
    assert list(found.scores)[:4] == ["method", "label", "seed", "ari"]
    one = found.scores[found.scores["method"] == "canonical_tnf"].reset_index(drop=True)
    alone = cluster_scores(embedded.features["canonical_tnf"], contigs.species, range(3))
    pd.testing.assert_frame_equal(one[alone.columns], alone)
    species = found.ari[found.ari["unit"] == "species"].set_index("method")["mean"]
    assert species["trained"] == 1
    assert species["untrained"] < 0.2 < species["canonical_tnf"] < 1
    assert found.ari.groupby("method")["unit"].apply(list).tolist() == [
        ["seed", "contig", "species"]
    ] * 3  # fmt: skip
    paired = found.paired.set_index(["method", "unit"])
    assert sorted(paired.index) == [
        (m, u) for m in ("trained", "untrained") for u in ("contig", "species")
    ]
    row = paired.loc[("trained", "contig")]
    assert row["difference"] == pytest.approx(1 - species["canonical_tnf"])
    assert 0 < row["low"] <= row["difference"] <= row["high"]
    assert (found.paired["p_holm"] >= found.paired["p"]).all()
    again = cluster_methods(embedded.features, contigs.species, n_seeds=3, seed=1)
    for first, second in zip(found, again, strict=True):
        assert first.to_csv() == second.to_csv()


def test_fewshot_table(toy):
    embedded, contigs = toy
    found = classify_methods(embedded.features, contigs.species, shots=[1, 5], n_seeds=3)
    table = found.table.set_index(["method", "shots"])
    assert table.loc[("trained", 1), "mean"] == 1
    assert table.loc[("untrained", 5), "mean"] < 0.7
    assert list(found.table)[:6] == ["method", "label", "shots", "mean", "low", "high"]
    assert (found.table["n"] == 3).all()
    assert found.skipped.empty


def test_bins_with_both_scores(toy):
    embedded, contigs = toy
    found = bin_methods(embedded, contigs, min_bp=300, min_bin_size=5, seed=1)
    table = found.table.set_index("method")
    best = table.loc["trained"]
    assert best[["n_contigs", "n_species", "recovered", "recovered_reference"]].tolist() == [
        60, 3, 3, 3,
    ]  # fmt: skip
    assert (table["f1"] <= table["f1_reference"]).all()  # what is in no bin counts in one of them
    worst = table.loc["untrained"]
    assert worst["f1"] < best["f1"]
    assert (table["unbinned_bp"] + table["completeness_bp"] <= 1 + 1e-9).all()
    assert 0 < best["gamma"] < 1
    assert best["why"].startswith("70th percentile")
    assert {"n_bins_50_10", "n_bins_90_5"} <= set(table)
    curve = found.recovered[found.recovered["method"] == "trained"]
    assert curve.loc[curve["threshold"] == 0.5, "n_recovered"].tolist() == [3]
    assert found.why_not == ""
    text = describe_binning(found.table)
    reference, share = best["f1_reference"], 100 * best["unbinned_bp"]
    assert (
        f"trained on pairs: mean F1 {reference:.3f} on binned contigs alone, as published, and "
        f"{best['f1']:.3f} with the {share:.0f} % of the bases that are in no bin"
    ) in text


def test_the_released_protocol_reaches_the_classifier_and_the_bins(toy):
    embedded, contigs = toy
    features, species = embedded.features, contigs.species
    options = {"shots": [1, 20], "n_seeds": 3}
    released = classify_methods(features, species, protocol="reference", **options).table
    alone = few_shot_scores(
        features["canonical_tnf"], species, shots=[1, 20], seeds=range(3), mode="reference"
    ).scores
    assert (alone["n_shared"] > 0).all()  # 80 of the 20 sequences of a species are the test
    rows = released[released["method"] == "canonical_tnf"].set_index("shots")["mean"]
    for shots, part in alone.groupby("shots"):
        assert rows[shots] == pytest.approx(part["macro_f1"].mean())
    with pytest.raises(ValueError, match="ask for fewer shots"):
        classify_methods(features, species, **options)  # 20 sequences, none left to test

    sizes = {"min_bp": 300, "min_bin_size": 5, "seed": 1}
    bins = bin_methods(embedded, contigs, protocol="reference", **sizes)
    row = bins.table.set_index("method").loc["canonical_tnf"]
    gamma, why = labelled_threshold(features["canonical_tnf"], species)
    assert row[["gamma", "why"]].tolist() == [gamma, why]
    labels = bin_contigs(features["canonical_tnf"], gamma, mode="reference", min_bin_size=5).labels
    assert row["f1_reference"] == reference_scores(species, labels)["f1"].mean()
    none = {m: (values[:0], values[:0]) for m, values in features.items()}
    again = bin_methods(Embedded(features, none), contigs, protocol="reference", **sizes)
    assert again.table.to_csv() == bins.table.to_csv()  # halves are not asked for
    with pytest.raises(ValueError, match="'published', expected one of corrected, reference"):
        bin_methods(embedded, contigs, protocol="published", **sizes)


def test_labelled_features_without_a_threshold_are_not_binned(toy):
    embedded, contigs = toy
    sums = np.zeros((60, 3), np.float32)
    sums[::2], sums[1::2] = [1, 0, 0], [-1, 0, 0]  # the mean of a species is zero
    sizes = {"min_bp": 300, "min_bin_size": 5, "seed": 1}
    given = Embedded({"canonical_tnf": sums}, embedded.halves)
    row = bin_methods(given, contigs, protocol="reference", **sizes).table.iloc[0]
    assert np.isnan(row["gamma"])
    assert row["why"].endswith("is 0.0000000, expected one in (0, 1)")
    assert row["n_bins"] == 0


def test_a_method_without_a_threshold_is_told_and_bins_nothing(toy):
    embedded, contigs = toy
    flat = np.ones((60, 3), np.float32)
    features = embedded.features | {"untrained": flat}
    halves = embedded.halves | {"untrained": (flat, flat)}
    found = bin_methods(Embedded(features, halves), contigs, min_bp=300, min_bin_size=5, seed=1)
    row = found.table.set_index("method").loc["untrained"]
    assert np.isnan(row["gamma"])
    assert row["why"].startswith("not binned: two halves of a contig have a median cosine")
    assert row[["n_bins", "unbinned_bp", "f1", "f1_reference", "recovered"]].tolist() == [
        0,
        1,
        0,
        0,
        0,
    ]
    assert "for want of a threshold: untrained network" in describe_binning(found.table)


def test_short_sequences_are_not_binned_and_tables_have_their_headers(toy):
    embedded, contigs = toy
    none = {m: (values[:0], values[:0]) for m, values in embedded.features.items()}
    found = bin_methods(
        Embedded(embedded.features, none), contigs, min_bp=1000, min_bin_size=5, seed=1
    )
    assert "at least 20 sequences of 1,000 bp or more, found 0" in found.why_not
    assert found.table.empty
    assert list(found.recovered) == [
        "method", "label", "threshold", "n_recovered", "n_species", "low", "high",
    ]  # fmt: skip


def test_map_shows_three_methods_on_the_same_sequences(toy):
    embedded, contigs = toy
    places = map_species(embedded.features, contigs.species, max_sequences=30, seed=1)
    assert places["method"].unique().tolist() == ["trained", "untrained", "canonical_tnf"]
    assert places.groupby(["projection", "method"]).size().tolist() == [30] * 6
    drawn = places.groupby(["projection", "method"])["species"].apply(tuple)
    assert drawn.nunique() == 1
    features = {"canonical_tnf": embedded.features["canonical_tnf"]}
    alone = map_species(features, contigs.species, max_sequences=30, seed=1)
    assert alone["method"].unique().tolist() == ["canonical_tnf"]


# --- the notebook ---------------------------------------------------------------------------------


def run_cells(changes: dict) -> dict[str, bytes]:
    """Tables that the notebook's own code cells write, with changed parameters."""
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    scope: dict = {"display": lambda _: None}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), scope)
            if cell["metadata"].get("tags") == ["parameters"]:
                scope |= changes
    folder = scope["run"].dir
    captions = {path.stem for path in (folder / "figures").glob("*.txt")}
    assert captions == {"map", "ari", "fewshot", "bins"}
    found = {path.stem: path.read_bytes() for path in (folder / "tables").iterdir()}
    shutil.rmtree(folder)
    return found


@pytest.mark.slow
def test_the_notebook_gives_the_same_bytes_twice(project):
    import matplotlib

    matplotlib.use("Agg")
    changes = SMALL | {"models": ["one"]}
    first = run_cells(changes)
    assert set(first) == {
        "sequences", "skipped", "map", "clustering", "ari", "paired", "fewshot",
        "fewshot_skipped", "binning", "recovered",
    }  # fmt: skip
    assert run_cells(changes) == first
