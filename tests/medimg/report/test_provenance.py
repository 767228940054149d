"""The options that a training read are shown, and the command makes the Run again; what must not be told is not."""

from federated.config import FederateConfig
from medimg.config import TrainConfig
from medimg.report.provenance import applying, training
from medimg.run import Run


def shown(config, is_table, **more) -> dict:
    return applying({"options": config.to_dict(), **more}, is_table)


def test_options_are_shown_where_they_apply():
    images, table = (shown(TrainConfig().resolved(unit), unit == "row") for unit in ("image", "row"))
    assert {"image_size", "freeze", "weights"} <= images.keys()
    assert not {"scale", "impute", "bound"} & images.keys()
    assert {"scale", "impute", "learning_rate"} <= table.keys()
    assert not {"image_size", "channels", "freeze", "augment", "views"} & table.keys()
    for options in (images, table):
        assert not any(name.startswith("dp") for name in options)
        assert not {"fold", "fine_tune_blocks", "extra", "weights_patients"} & options.keys()
        assert not {"confidence", "adapt_method", "vote", "missing_limit"} & options.keys()
    tuned = TrainConfig(freeze="backbone", fine_tune_epochs=2, dp_epsilon=3.0, folds=4, fold=2).resolved("image")
    assert {"fine_tune_blocks", "cache_features", "dp_epsilon", "dp_clip", "fold"} <= shown(tuned, False).keys()
    assert "views" in shown(TrainConfig(augment="light", views=3), False)


def test_of_a_federated_run_the_options_that_acted_are_shown():
    """What its command wrote down; of a Run of before, what `train` has too is judged as there."""

    def acted(**options):
        config = FederateConfig(model="logistic", **options)
        return shown(config, True, acting=config.acting("tables")).keys()

    idle = {"alpha", "shards", "clients", "min_size", "proximal", "trim", "byzantine", "when_lost", "worker_patience"}
    assert not (idle | {"dp", "dp_clip", "secure_bits", "straggler_pace", "image_size"}) & acted()
    assert {"partition", "strategy", "rounds", "local_epochs"} <= acted()
    assert {"alpha", "clients", "min_size"} <= acted(partition="dirichlet")
    assert {"secure_bits", "secure_threshold"} <= acted(secure="masking")
    assert {"dp", "dp_clip", "dp_epsilon"} <= acted(dp="patient", dp_epsilon=3.0)
    before = shown(FederateConfig(model="logistic"), True).keys()
    assert "image_size" not in before
    assert "rounds" in before


def test_the_command_is_what_made_the_run_without_defaults_folders_and_secrets(tmp_path):
    config = TrainConfig(
        model="mlp", epochs=7, model_arg={"width": "8"}, extra="/far/away/made", dp_epsilon=2.0, tensorboard=True
    ).resolved("row")
    run = Run(tmp_path, {"command": "train", "data": "/far/away/heart data", "options": config.to_dict()})
    told = training(run, {"options": {"by": "sex,age:10"}}, True)
    first, second = told["commands"]
    assert first.startswith("medimg train 'heart data' --model mlp ")
    for words in ("--epochs 7", "--model-arg width=8", "--extra made", "--dp-epsilon 2.0", "--tensorboard"):
        assert words in first
    assert "/far" not in first
    assert "--learning-rate" not in first
    assert second == "medimg evaluate RUN --by sex,age:10"
    secret = Run(
        tmp_path, {"command": "federate", "data": "d", "options": {"dp_seed": 7, "dp": "patient"}, "acting": []}
    )
    secret.config["acting"] = ["dp_seed", "dp"]
    told = training(secret, {}, True)
    assert "dp_seed" not in str(told)
    assert told["commands"][0] == "medimg federate d --dp patient --out RUN"
