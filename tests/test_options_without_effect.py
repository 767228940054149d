"""Every option of every command: refused by name in a setting where it would do nothing, taken where it acts."""

import dataclasses
import json
from pathlib import Path

import click
import pytest
import yaml

import cli
from explain.config import ExplainConfig, InterpretabilityConfig, ReviewConfig
from federated.config import FederateConfig
from federated.studies.config import HospitalsConfig
from medimg.audit.config import AuditConfig
from medimg.commands.command_line import take
from medimg.comparison.config import CompareConfig
from medimg.config import PrepareConfig, TrainConfig
from medimg.evaluation.config import EvaluateConfig
from medimg.options import flag
from medimg.prediction.config import PredictConfig
from medimg.privacy.config import LedgerConfig
from medimg.serving.config import ExportConfig
from medimg.studies.config import PrivacyUtilityConfig, StudyConfig
from medimg.validation.config import ValidateConfig
from synthetic.config import SynthesizeConfig
from synthetic.judge.config import JudgeConfig
from tests.command import medimg
from tests.datasets import write_dataset

# Options of a private training, of training on images and on tables, that are alike in two commands.
_NORM = ("norm", "images", "--model vgg16", "")
_PRIVACY = "dp_delta dp_clip dp_sampling dp_images_per_patient dp_budget dp_engine dp_seed"
_IMAGES = "weights norm freeze image_size channels normalize cache_budget"
_TABLES = "impute missing scale encode select"
_OF_TABLES = (
    ("missing_limit", "tables", "--missing impute", "--missing drop-columns"),
    ("missing_indicators", "tables", "--missing drop-rows", ""),
    ("select_count", "tables", "", "--select anova"),
)

# (options, what the command is about there, words with which they do nothing, words with which they act).
# What it is about is of the first words; the second ones are for its other kind where a `!` begins it.
WITHOUT_EFFECT = {
    ("train", TrainConfig): (
        (_IMAGES, "!tables", "", ""),
        ("augment", "!tables", "", ""),
        _NORM,
        ("dropout", "tables", "--model logistic", "--model mlp"),
        ("cache_features", "images", "", "--freeze backbone"),
        (
            "cache_features",
            "images",
            "--freeze backbone --augment light",
            "--freeze backbone --augment light --views 2",
        ),
        ("fine_tune_epochs", "images", "--freeze 1", "--freeze backbone"),
        (
            "fine_tune_blocks fine_tune_learning_rate",
            "images",
            "--freeze backbone",
            "--freeze backbone --fine-tune-epochs 1",
        ),
        ("views", "images", "", "--augment light"),
        ("time candidate", "images", "--recipe none", "--recipe auto"),
        ("head_start", "images", "", "--freeze backbone"),
        ("head_start", "images", "--freeze backbone --dp-epsilon 3", "--freeze backbone"),
        ("head_penalty", "images", "--freeze backbone", "--freeze backbone --head-start logistic"),
        (_TABLES, "!images", "", ""),
        *_OF_TABLES,
        (_PRIVACY, "images", "", "--dp-epsilon 3"),
        (_PRIVACY, "tables", "", "--dp-epsilon 3"),
        ("dp_budget", "images", "--dp-noise-multiplier 1", "--dp-epsilon 3"),
        ("bound categories", "tables", "", "--dp-epsilon 3"),
        ("bound categories", "!images", "--dp-epsilon 3", "--dp-epsilon 3"),
        ("plateau_factor", "images", "--plateau-patience 0", ""),
        ("plateau_factor", "images", "--dp-epsilon 3", "--dp-epsilon 3 --plateau-patience 3"),
        ("fold", "images", "", "--folds 3"),
        ("paradigm adapt", "!tables", "", ""),
        ("metadata", "!tables", "", ""),
        ("member", "images", "", "--model ensemble"),
        ("vote", "images", "", "--seeds 2"),
        ("confidence", "images", "--paradigm mean-teacher", "--paradigm fixmatch"),
        ("pseudo_rounds", "images", "--paradigm fixmatch", "--paradigm pseudo-label"),
        ("unlabelled_ratio", "images", "--paradigm pseudo-label", "--paradigm fixmatch"),
        ("unlabelled_weight", "images", "--paradigm simclr", "--paradigm mean-teacher"),
        ("teacher_decay", "images", "--paradigm fixmatch", "--paradigm mean-teacher"),
        ("pretrain_epochs contrast_temperature", "images", "", "--paradigm simclr"),
        ("adapt_method", "images", "", "--adapt {file}"),
        ("adapt_weight", "images", "--adapt {file}", "--adapt {file} --adapt-method coral"),
        ("precision distribute", "!tables", "", ""),
        ("precision xla distribute", "images", "--paradigm fixmatch", ""),
        ("distribute", "images", "--folds 3", ""),
        ("xla", "tables", "--dp-epsilon 3", ""),
    ),
    ("federate", FederateConfig): (
        (_IMAGES, "!tables", "", ""),
        _NORM,
        ("dropout", "tables", "--model logistic", "--model mlp"),
        (_TABLES, "!images", "", ""),
        *_OF_TABLES,
        ("clients", "images", "", "--partition iid"),
        ("alpha min_size", "images", "--partition iid", "--partition dirichlet"),
        ("shards", "images", "--partition dirichlet", "--partition shards"),
        ("straggler_pace", "images", "", "--stragglers 0.5"),
        ("when_lost site_patience site_timeout link superlink site", "images", "", "--engine flower"),
        ("proximal", "images", "--strategy fedsgd", "--strategy fedprox"),
        ("local_epochs", "images", "--local-steps 3", ""),
        (
            "local_epochs local_steps client_optimizer learning_rate",
            "images",
            "--strategy fedsgd --no-comparison",
            "--strategy fedsgd",
        ),
        ("trim", "images", "--aggregation median", "--aggregation trimmed-mean"),
        ("byzantine", "images", "--aggregation trimmed-mean", "--aggregation multi-krum"),
        ("secure_threshold secure_limit", "images", "", "--secure ckks"),
        ("secure_bits", "images", "--secure ckks", "--secure masking"),
        ("dp_epsilon dp_delta dp_clip dp_noise_multiplier dp_clipping dp_seed", "images", "", "--dp client"),
        ("dp_budget", "images", "--dp patient", "--dp patient --dp-epsilon 3"),
        ("noise", "images", "--dp client", "--dp patient"),
        ("dp_clipping", "images", "--dp patient --dp-epsilon 3", "--dp client"),
        ("bound categories", "tables", "", "--dp patient --dp-epsilon 3"),
    ),
    ("explain", ExplainConfig): (
        ("image", "!tables", "", ""),
        ("split count mistakes score_count localisation_count appearance_count", "images", "--image {file}", ""),
        ("smooth score_count localisation_count max_megapixels", "!tables", "", ""),
        ("masks", "!tables", "", ""),
        ("masks", "images", "--score-count 0", ""),
        ("samples", "images", "--method gradcam", "--method shap"),
        ("samples", "images", "--method gradcam", "--method rise"),
    ),
    ("predict", PredictConfig): (
        ("image_column save_maps dicom_out max_megapixels", "!tables", "", ""),
        ("send", "images", "", "--dicom-out x"),
    ),
    ("evaluate", EvaluateConfig): (("threshold", "!multiclass tasks", "", ""),),
    ("validate", ValidateConfig): (("map_class", "!multilabel tasks", "", ""),),
    ("compare", CompareConfig): (("baseline", "!images", "", ""),),
    ("audit", AuditConfig): (("shadow_models", "images", "", "--attack lira"),),
    ("synthesize", SynthesizeConfig): (
        (
            "image_size channels filters latent_size discriminator_steps generator_learning_rate "
            "discriminator_learning_rate label_smoothing regularise r1_weight ema_decay gan_augment sample_every "
            "perturb keep_generator",
            "tables",
            "--model tvae",
            "--model dcgan",
        ),
        ("r1_weight", "images", "--model dcgan --regularise spectral", "--model dcgan --regularise r1"),
        ("r1_weight", "images", "--model dcgan --dp-epsilon 3", "--model dcgan"),
        ("per_site tune bound categories", "images", "--model dcgan", "--model ctgan"),
        ("tune", "tables", "--model marginals", "--model tvae"),
        (
            "clients alpha min_size shards client_fraction client_dropout stragglers straggler_pace aggregation trim "
            "byzantine secure secure_threshold secure_limit secure_bits rounds local_steps",
            "tables",
            "",
            "--partition {partition} --stragglers 0.5 --secure masking --aggregation {aggregation}",
        ),
        ("local_steps", "tables", "--model marginals --partition site", "--model tvae --partition site"),
        (
            "when_lost site_patience site_timeout link superlink site",
            "images",
            "--model dcgan",
            "--model dcgan --engine flower",
        ),
        ("dp_delta dp_clip dp_budget dp_seed", "tables", "", "--dp-epsilon 3"),
    ),
    ("judge", JudgeConfig): (
        ("features feature_model feature_arg cnn_epochs", "!tables", "", ""),
        ("feature_model feature_arg", "images", "--features dct", "--features imagenet"),
        ("cnn_epochs", "images", "--train-with svm", "--train-with small-cnn"),
    ),
    ("study privacy-utility", TrainConfig): (
        (_IMAGES, "!tables", "", ""),
        (_TABLES, "!images", "", ""),
        ("dp_delta dp_clip dp_sampling dp_seed", "images", "--epsilon inf", ""),
        ("views", "images", "", "--augment light"),
    ),
    ("study interpretability", TrainConfig): (
        (_TABLES, "images", "", None),
        ("views", "images", "", "--augment light"),
    ),
}

# Options that act whatever else is given, or that have a check of their own, tested beside it.
ALWAYS = {
    TrainConfig: "model weights_patients model_arg dp_epsilon dp_noise_multiplier epochs batch_size optimizer "
    "learning_rate patience plateau_patience balance extra tensorboard folds calibrate audit_holdout seed "
    "labelled_fraction seeds recipe",
    FederateConfig: "model weights_patients model_arg partition client_fraction client_dropout stragglers engine "
    "strategy server_learning_rate weighting rounds batch_size patience balance personalize_epochs comparison "
    "aggregation secure dp audit_holdout seed cache_features",
    ExplainConfig: "data method seed",
    InterpretabilityConfig: "model method samples score_count localisation_count",
    PredictConfig: "batch_size",
    ReviewConfig: "port reader_study nearest max_megabytes max_megapixels",
    EvaluateConfig: "data by split bootstrap calibrate prevalence batch_size seed",
    CompareConfig: "data metric bootstrap seed",
    AuditConfig: "data attack twin canaries bootstrap seed",
    ValidateConfig: "split patient_pattern bootstrap batch_size seed",
    ExportConfig: "format data samples tolerance",
    LedgerConfig: "delta abandon",
    PrivacyUtilityConfig: "epsilon",
    # What a study does not set is refused beside it.
    StudyConfig: "seeds budget cell weights model model_arg epochs rounds image_size normalize bootstrap",
    HospitalsConfig: "strategy tune",
    SynthesizeConfig: "partition engine dp_epsilon dp_noise_multiplier model count class_mix rare_classes epochs "
    "batch_size seed "
    # Not options of this command.
    "dp_sampling dp_images_per_patient dp_engine",
    JudgeConfig: "train_with classifier most_rows bootstrap seed",
}
# Values where a number more, or another choice, is none.
VALUES = {
    "masks": "{file}",
    "weights": "imagenet",
    "time": "3m",
    "candidate": "x",
    "freeze": "1",
    "bound": "age=0:120",
    "categories": "pain=a,b",
    "image": "{file}",
    "adapt": "{file}",
    "member": "{file}",
    "metadata": "site",
    "map_class": "a=b",
    "image_column": "path",
    "baseline": "none",
    "feature_model": "resnet50",
    "feature_arg": "alpha=0.5",
    "features": "imagenet",
    "model": "mlp",
    "model_arg": "width=4",
    "strategy": "fedavg",
    "threshold": "0.4",
    "dropout": "0.3",
    "prevalence": "0.1",
    "secure_limit": "9",
    "latent_size": "8",
    "max_megapixels": "9",
}


def other_value(field: dataclasses.Field) -> list[str]:
    """Words that give an option another valid value than its default."""
    name, rules = field.name, field.metadata
    if field.type is bool:
        return [f"--no-{name.replace('_', '-')}" if field.default else flag(name)]
    if name in VALUES:
        return [flag(name), VALUES[name]]
    if rules["choices"]:
        return [flag(name), str(next(c for c in rules["choices"] if c != field.default and c is not None))]
    kind = float if "float" in str(field.type) else int
    low = rules["minimum"] or rules["above"] or 0
    value = (rules["maximum"] or low + 2) / 2 if kind is float else max(low, field.default or 0) + 1
    return [flag(name), str(kind(value))]


def field_of(config, name: str) -> dataclasses.Field:
    return config.__dataclass_fields__[name]


CASES = [
    pytest.param(command, config, name, *case[1:], id=f"{command} {flag(name)} {i}")
    for (command, config), cases in WITHOUT_EFFECT.items()
    for i, case in enumerate(cases)
    for name in case[0].split()
]


@pytest.fixture(scope="module")
def world(noise, small_table, tmp_path_factory) -> dict[str, Path]:
    """Datasets, and Runs that have begun: what an option is for is asked before a model is read."""
    root = tmp_path_factory.mktemp("options")
    several = write_dataset(root / "several", classes=("a", "b", "c"), task="multiclass")
    labels = write_dataset(root / "labels", classes=("a", "b"), task="multilabel")
    for name, data in (("images", noise), ("tables", small_table), ("several", several), ("labels", labels)):
        run = root / f"{name}-run"
        run.mkdir()
        options = TrainConfig(model="mlp" if name == "tables" else "baseline_cnn").resolved(data.unit).to_dict()
        (run / "config.yaml").write_text(
            yaml.safe_dump({"command": "train", "data": str(data.root), "options": options})
        )
        described = {"task": data.task, "classes": list(data.classes), "name": options["model"]}
        (run / "model.json").write_text(json.dumps(described | ({"preprocessing": {}} if name == "tables" else {})))
    file = noise.root / noise.manifest["image"].iloc[0]
    return {
        "images": noise.root,
        "tables": small_table.root,
        **{name: root / f"{name}-run" for name in ("images run", "tables run", "several run")},
        "images run": root / "images-run",
        "tables run": root / "tables-run",
        "multiclass tasks run": root / "several-run",
        "multilabel tasks run": root / "labels-run",
        "file": file,
        "out": root / "out",
    }


def line(command: str, about: str, words: str, world: dict) -> list[str]:
    """The command on what it is about, with some words."""
    words = words.format(file=world["file"], partition="dirichlet", aggregation="trimmed-mean").split()
    about = about.lstrip("!")
    start = command.split()
    if command in ("train", "federate", "synthesize") or start[0] == "study":
        model = ["--model", "mlp"] if about == "tables" and command in ("train", "federate") else []
        if command == "study privacy-utility" and about == "tables":
            model = ["--model", "mlp"]
        if command == "synthesize" and about == "images":
            model = ["--model", "dcgan"]
        if "--model" in words:
            model = []
        return [*start, str(world[about]), "--out", str(world["out"]), *model, *words]
    if command == "judge":
        return [*start, str(world[about]), "--real", str(world[about]), *words]
    run = str(world[f"{about} run"])
    extra = [str(world["tables"]), "--out", str(world["out"] / "p.csv")] if command == "predict" else []
    if command == "compare":
        extra = ["--out", str(world["out"])]
    if command == "validate":
        extra = [str(world["images"])]
    return [*start, run, *extra, *words]


def parsed(command: str, config, words: list[str]):
    """The options as the command takes them, without running it."""
    group, rest = cli.medimg, words
    while isinstance(group, click.Group):
        name = rest[0]
        if name in group.commands:
            group, rest = group.commands[name], rest[1:]
        else:
            group = group.commands[group.default]
    with group.make_context(command, list(rest)) as context:
        return take(config, dict(context.params))


@pytest.mark.parametrize(("command", "config", "name", "about", "useless", "useful"), CASES)
def test_an_option_that_does_nothing_is_refused_by_name(command, config, name, about, useless, useful, world):
    field = field_of(config, name)
    given = [word.format(file=world["file"]) for word in other_value(field)]
    result = medimg(*line(command, about, useless, world), *given)
    if command in ("judge", "compare"):
        # What they judge and compare is read first, and here is no synthetic Dataset nor an evaluated Run.
        kinds = (about.lstrip("!"),)
        with pytest.raises(ValueError, match=f"^{flag(name)}: is for .*; leave it out$"):
            parsed(command, config, [*line(command, about, useless, world), *given]).require_effect(*kinds)
        return
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith(f"medimg: error: {flag(name)}: is for "), result.output
    assert result.stderr.endswith("; leave it out\n")
    assert len(result.stderr.splitlines()) == 1
    assert not world["out"].exists()


# The last word: None where an option never acts in the command.
@pytest.mark.parametrize(
    ("command", "config", "name", "about", "useless", "useful"), [case for case in CASES if case.values[-1] is not None]
)
def test_an_option_that_acts_is_taken(command, config, name, about, useless, useful, world):
    if command == "synthesize" and name in ("clients", "alpha", "min_size", "shards", "byzantine"):
        useful = useful.replace("{partition}", "shards" if name == "shards" else "dirichlet")
        useful = useful.replace("{aggregation}", "krum" if name == "byzantine" else "trimmed-mean")
    other = {
        "tables": "images",
        "images": "tables",
        "multiclass tasks": "binary tasks",
        "multilabel tasks": "binary tasks",
    }
    kind = other[about[1:]] if about.startswith("!") else about
    given = [word.format(file=world["file"]) for word in other_value(field_of(config, name))]
    words = line(command, kind if f"{kind} run" in world else "images", useful, world)
    config = parsed(command, config, [*words, *given])
    if command == "study privacy-utility":
        config = dataclasses.replace(config, dp_epsilon=3.0).with_given_names(config.names_given())
    resolved = config.resolved("image") if isinstance(config, TrainConfig) else config
    assert name in config.names_given()
    config.require_effect(kind, *command.split()[1:], resolved=resolved)


@pytest.mark.parametrize("config", ALWAYS, ids=lambda config: config.__name__)
def test_no_option_is_forgotten(config):
    walked = {
        name for (_, c), cases in WITHOUT_EFFECT.items() if c is config for case in cases for name in case[0].split()
    }
    known = set(ALWAYS[config].split())
    assert walked | known == {field.name for field in dataclasses.fields(config)}
    assert not {n for n in known & walked if n not in ("dp_sampling", "dp_images_per_patient", "dp_engine")}


def test_every_commands_configuration_is_walked():
    """A command that is added has its options here, or in none of the classes known."""
    known = {field.name for config in (*ALWAYS, PrepareConfig) for field in dataclasses.fields(config)}
    own = {
        *(
            "help",
            "config",
            "debug",
            "out",
            "resume",
            "overwrite",
            "data_folder",
            "data_folders",
            "run_folder",
            "run_folders",
            "paths",
        ),
        *("source", "path", "data", "port", "site", "client", "bind", "expose", "head", "witness"),
        *("public_key", "real", "report", "version", "pdf"),
        # Of sites of their own and their coordinator.
        *("key", "key_file", "name", "host", "policy", "superlink", "root_certificate", "folder", "file", "run"),
        *("site_log", "options"),
        # Of weights that are kept.
        *("family", "licence", "source"),
    }

    def walk(command):
        for child in getattr(command, "commands", {}).values():
            yield from walk(child)
        yield from (param.name for param in command.params)

    phantom = {
        "patients",
        "images_per_patient",
        "sites",
        "phantom_size",
        "opacity_size",
        "opacity_contrast",
        "site_shift",
    }
    assert set(walk(cli.medimg)) <= known | own | phantom | {"shortcut"}


def test_an_option_at_its_default_is_refused_too_where_a_person_gives_it(world, tmp_path):
    for words in (["--dp-delta", "1e-5"], ["--dp-clip", "1.0"], ["--encode", "one-hot"]):
        result = medimg("train", world["images"], "--out", tmp_path / "run", *words)
        assert result.exit_code == 2
        assert f"{words[0]}: is for" in result.stderr
    file = tmp_path / "options.yaml"
    file.write_text("dp-clip: 1.0\n")
    result = medimg("train", world["images"], "--out", tmp_path / "run", "--config", file)
    assert result.stderr == "medimg: error: --dp-clip: is for --dp-epsilon or --dp-noise-multiplier; leave it out\n"


def test_resume_refuses_options_of_a_file_that_differ(world, tmp_path):
    file = tmp_path / "options.yaml"
    run = world["images run"]
    before = (run / "config.yaml").read_text()
    file.write_text("batch-size: 3\n")
    result = medimg("train", world["images"], "--out", run, "--resume", "--config", file)
    assert result.exit_code == 2
    assert f"--batch-size 3: the Run at {run} has 32; leave it out to resume" in result.stderr
    # The same as it has is no other wish, even where it does nothing: it was taken once.
    file.write_text("batch-size: 32\ndp-clip: 1.0\nepochz: 3\n")
    result = medimg("train", world["images"], "--out", run, "--resume", "--config", file)
    assert "option 'epochz' is not known" in result.stderr
    assert (run / "config.yaml").read_text() == before
