"""Which tests repeat, for one more model, sample, partition or paradigm, what a sibling shows of the same code.

They are run before a release (`script/test -m ""`), not at every change: those of a kind that stay show the mechanism.
A pattern is of a test's node id, as `fnmatch` reads it, where `[[]` is a bracket.
"""

from fnmatch import fnmatchcase

# Writing commands of which two others are tried at every change.
_LONGER = ("train", "train anew", "folds", "federate", "synthesize", "study", "study of maps")
_LONGER += ("rehearse", "inspect", "judge", "validate", "explain", "audit", "report", "export", "compare")
PATTERNS = (
    # Every family is opened by the test of our own models; of exports one of each kind of layer stays.
    *(
        f"tests/medimg/models/test_models.py::*[[]{name}]"
        for name in ("efficientnet_b4", "efficientnet_v2_b0", "densenet121", "inception_v3", "vgg19", "vgg16")
    ),
    # Of deep ones with BatchNorm, MobileNetV2 stays.
    "tests/medimg/models/test_models.py::*[[]efficientnet_b0]",
    # CBAM is held to its equations in every stage of `attention_cnn` as well.
    "tests/medimg/models/test_models.py::test_attention_on_any_*[[]cbam]",
    "tests/medimg/models/test_models.py::test_imagenet_weights_load_*[[]mobilenet_v2_weights*]",
    *(f"tests/medimg/models/test_models.py::test_group_norm_*[[]{name}]" for name in ("resnet50", "mobilenet_v2")),
    "tests/medimg/models/test_models.py::test_what_lies_*",
    "tests/medimg/models/test_models.py::test_the_largest_*",
    *(
        f"tests/medimg/models/test_models.py::test_{test}_*[[]{name}]"
        for test in ("every_model", "blocks")
        for name in ("resnet50", "efficientnet_lite?", "mobilenet")
    ),
    *(
        f"tests/medimg/privacy/test_per_example.py::test_models_of_the_registry[[]{name}-*]"
        for name in ("resnet50", "mobilenet_v2", "mobilenet", "baseline_cnn-32")
    ),
    "tests/medimg/privacy/test_neighbours.py::test_a_patient_moves_*[[]light]",
    *(
        f"tests/medimg/serving/test_onnx.py::test_every_family_converts[[]{name}-*]"
        for name in ("attention_cnn", "alexnet", "resnet50", "efficientnet_v2_b0", "vgg16", "vgg19", "inception_v3")
    ),
    *(f"tests/medimg/serving/test_onnx.py::*[[]{name}-*]" for name in ("densenet121", "mobilenet", "mobilenet_v2")),
    "tests/medimg/serving/test_onnx.py::test_every_family_converts[[]efficientnet_lite?-*]",
    "tests/medimg/serving/test_onnx.py::test_every_family_converts[[]baseline_cnn-batch]",
    *(f"tests/medimg/serving/test_onnx.py::*[[]{name}]" for name in ("mlp", "multiclass")),
    # Of channels and of detectors each value once.
    *(f"tests/medimg/serving/test_onnx.py::test_prepared_pixels_*[[]{both}]" for both in ("3-0", "1-4095", "3-None")),
    # Samples whose source and kind of labels another sample has.
    *(
        f"tests/medimg/sources/test_real_samples.py::test_to_the_end[[]{name}]"
        for name in ("kermany_native", "brain_mri", "brain_mri_of_four_classes", "pocus_ultrasound", "covid_cxr")
    ),
    *(
        f"tests/medimg/sources/test_real_samples.py::test_to_the_end[[]{name}]"
        for name in ("breastmnist", "deeplesion")
    ),
    # Class folders, several findings an image and a table stay, and of volumes `test_clinical_runs`.
    *(
        f"tests/medimg/sources/test_real_samples.py::test_to_the_end[[]{name}]"
        for name in ("brats", "dicom", "isic", "pneumoniamnist")
    ),
    *(
        f"tests/medimg/sources/test_clinical_runs.py::test_to_the_end[[]{name}]"
        for name in ("dicom", "brats", "deeplesion")
    ),
    "tests/medimg/sources/test_clinical_runs.py::test_the_client_of_an_export_*[[]True]",
    # What methods are made of, and every method, on models of one more kind.
    *(
        f"tests/explain/methods/test_catalogue.py::test_every_model_has_its_layer_*[[]{name}]"
        for name in ("alexnet", "vgg16", "vgg19", "inception_v3", "densenet121", "efficientnet_v2_b0")
    ),
    "tests/explain/methods/test_catalogue.py::test_every_model_has_its_layer_*[[]efficientnet_lite?]",
    *(
        f"tests/explain/methods/test_catalogue.py::test_every_model_has_its_layer_*[[]{name}]"
        for name in ("resnet50", "mobilenet_v2", "efficientnet_b0", "attention_cnn")
    ),
    # `attention_cnn` is `baseline_cnn` with attention, and every method is held to its maps on the latter.
    "tests/explain/methods/test_catalogue.py::test_every_model_has_its_layer_*[[]baseline_cnn]",
    "tests/explain/methods/test_catalogue.py::test_every_method_gives_maps_*[[]attention_cnn-*]",
    "tests/explain/methods/test_catalogue.py::test_every_method_gives_maps_*[[]mobilenet_v2-*]",
    # Ways to divide patients among clients, whose steps are the same.
    "tests/federated/private/test_what_leaves.py::*[[]scaffold of drawn clients]",
    "tests/federated/private/test_what_leaves.py::*[[]held out]",
    "tests/federated/private/test_what_leaves.py::*[[]table]",
    "tests/federated/private/test_neighbours.py::*[[]site]",
    "tests/federated/private/test_neighbours.py::*[[]iid]",
    "tests/federated/private/test_neighbours.py::*[[]dirichlet]",
    "tests/federated/flower/test_training.py::test_images[[]fedbn]",
    *(f"tests/federated/flower/test_training.py::test_strategies[[]{name}]" for name in ("fedprox", "fedadam")),
    "tests/federated/flower/test_training.py::test_a_site_started_anew_goes_on[[]plain]",
    # Rows stay, and images under masking in `test_at_sites`.
    "tests/federated/flower/test_training.py::test_images[[]masked]",
    "tests/federated/flower/test_attacks.py::test_a_round_is_answered_from_one_start[[]config1]",
    # One is started anew with privacy.
    "tests/federated/flower/test_training.py::test_a_site_started_anew_goes_on[[]ckks]",
    # Under masking a private site is started anew.
    "tests/federated/flower/test_training.py::test_a_site_started_anew_goes_on[[]masked]",
    "tests/federated/flower/test_training.py::test_a_site_started_anew_at_any_stage_*[[]plan]",
    # Optimizers of TFF that are set by name alone, and steps that a harder case makes as well.
    *(
        f"tests/federated/tff/test_engine.py::test_equals_the_algorithm_of_tff[[]{name}]"
        for name in ("fedavgm", "fedadam", "fedadagrad", "fedsgd", "fedyogi")
    ),
    "tests/federated/tff/test_engine.py::test_three_rounds_*[[]fedadam]",
    # FedProx is FedAvg with a term, SCAFFOLD's aggregation FedAvg's with what clients keep, and of clips one moves.
    "tests/federated/tff/test_engine.py::test_three_rounds_*[[]fedavg]",
    "tests/federated/tff/test_engine.py::test_aggregation_outside_*[[]fedavg]",
    "tests/federated/tff/test_engine.py::test_aggregations_of_tff[[]robust-clip]",
    "tests/federated/private/test_steps.py::test_a_patient_moves_*[[]40-shape0]",
    "tests/federated/private/test_steps.py::test_a_patient_moves_*[[]20-shape1]",
    "tests/federated/private/test_steps.py::test_a_worker_of_tff_*[[]<lambda>-shape0]",
    "tests/federated/private/test_export.py::*[[]client]",
    "tests/synthetic/tables/test_neighbours.py::*[[]options3]",
    # What is said of both together is said of each.
    *(f"tests/federated/test_claims.py::*[[]{name}]" for name in ("masking", "private")),
    "tests/synthetic/images/test_neighbours.py::*[[]options2]",
    # Sites that mask their sums are held to the simulation in `test_at_sites`.
    "tests/synthetic/federation/test_images.py::test_a_secure_sum_*",
    "tests/synthetic/federation/test_images.py::*[[]r1]",
    "tests/synthetic/federation/test_images.py::*[[]100]",
    # A study of a step of each room stays.
    *(
        f"tests/medimg/studies/test_declared.py::test_a_study_ends_*[[]{name}]"
        for name in (
            "architectures",
            "cross-modality",
            "federated-skin",
            "imbalance",
            "labels",
            "mode-collapse",
            "records",
            "federated-toy",
        )
    ),
    "tests/medimg/studies/test_declared.py::test_a_study_ends_*[[]synthetic-xray]",
    # One training of each kind is killed and resumed.
    *(
        f"tests/federated/flower/test_training.py::*_at_any_stage_goes_on[[]{name}]"
        for name in ("describe", "statistics", "plan", "train", "finish")
    ),
    "tests/medimg/training/test_training.py::test_kill_and_resume_*[[]plain]",
    "tests/medimg/training/test_training.py::test_cached_features_*[[]none]",
    "tests/medimg/training/test_few_labels.py::test_a_stopped_training_*[[]pseudo-label]",
    "tests/medimg/training/test_few_labels.py::test_a_stopped_training_*[[]mean-teacher]",
    "tests/medimg/training/test_few_labels.py::test_a_stopped_training_*[[]fixmatch]",
    "tests/medimg/training/test_longer.py::test_all_folds_go_on",
    "tests/medimg/evaluation/test_calibrate.py::test_the_saved_model_*[[]platt-binary-*]",
    "tests/medimg/evaluation/test_calibrate.py::test_the_saved_model_*[[]temperature-binary-*]",
    "tests/medimg/evaluation/test_calibrate.py::test_the_saved_model_*[[]platt-multilabel-*]",
    *(f"tests/medimg/evaluation/test_calibrate.py::test_a_badly_*[[]{name}]" for name in ("platt", "isotonic")),
    # Each task and each balance once.
    *(
        f"tests/medimg/training/test_training.py::test_every_task_*[[]{both}]"
        for both in ("none-*", "class-weight-multilabel", "weighted-sampling-multiclass")
    ),
    "tests/medimg/training/test_imbalance.py::test_made_images_*[[]True]",
    "tests/medimg/serving/test_export_patients.py::*[[]nine-classes-private]",
    "tests/medimg/serving/test_export_patients.py::*[[]images]",
    "tests/medimg/serving/test_export_patients.py::*[[]several-labels]",
    *(
        f"tests/test_concurrent_writers.py::test_two_at_once_*[[]{name}]"
        for name in ("train anew", "judge", "validate")
    ),
    *(
        f"tests/test_concurrent_writers.py::test_two_at_once_*[[]{name}]"
        for name in (
            "folds",
            "federate",
            "rehearse",
            "synthesize",
            "audit",
            "study",
            "study of maps",
            "compare",
            "report",
        )
    ),
    # Every command on every damage, at every full disk and killed at any moment: at each change a few of them.
    "tests/test_corrupted.py::test_every_command*",
    "tests/test_broken_off.py::test_killed_*[[]1-*]",
    "tests/test_broken_off_files.py::test_killed_before_every_change*",
    "tests/test_broken_off_files.py::test_a_rehearsal_that_was_killed_*",
    *(f"tests/test_broken_off_files.py::test_killed_*[[]{name}]" for name in ("predict-8", "predict-24", "dossier-50")),
    *(f"tests/test_broken_off.py::test_killed_*[[]0-{name}]" for name in ("evaluate", *_LONGER)),
    *(f"tests/test_broken_off.py::test_the_disk_is_full[[]{name}]" for name in _LONGER),
    "tests/test_cli.py::test_the_demo_learns_*",
    "tests/test_planted_ids.py::test_no_id_in_what_is_printed_*[[]images]",
    "tests/test_planted_ids.py::test_no_id_in_what_is_printed_*[[]private]",
    "tests/test_docs.py::test_the_tour_is_walked",
    "tests/test_docs.py::test_the_readme_is_walked",
    "tests/medimg/training/test_distribution.py::test_two_are_as_one[[]multi-worker]",
    "tests/medimg/training/test_distribution.py::test_a_dead_worker_*",
    "tests/medimg/training/test_distribution.py::test_a_worker_that_waits_*",
    "tests/medimg/training/test_distribution.py::*[[]is refused]",
    "tests/medimg/training/test_precision.py::test_the_weights_*[[]mixed_float16-]",
    *(
        f"tests/test_docs.py::test_a_data_set_*[[]{name}]"
        for name in ("isic", "deeplesion", "class-folders", "medmnist", "phantom", "heart")
    ),
    "tests/federated/private/test_what_leaves.py::*[[]images]",
    "tests/synthetic/federation/test_images.py::test_private_draws_depend_on_the_key",
    "tests/synthetic/images/test_dcgan.py::test_kill_and_resume_give_the_same_private_images",
    "tests/medimg/prediction/test_predict.py::test_others_read_a_file_as_predict_does[[]20]",
    "tests/medimg/inspection/test_tables.py::test_large_tables_are_sampled_and_wide_ones_cut",
    "tests/medimg/privacy/test_accounting.py::test_steps_within_are_the_last_that_fit[[]mechanism1-8]",
    "tests/medimg/training/test_metadata.py::test_folds_tell_of_pixels_and_of_metadata_alone",
    *(
        f"tests/medimg/training/test_few_labels.py::test_nothing_depends_on_a_hidden_label[[]{name}]"
        for name in ("simclr", "fixmatch", "mean-teacher")
    ),
    # Pixels leave as rows do: of what no step has drawn.
    "tests/medimg/privacy/test_what_leaves.py::*[[]images]",
    "tests/medimg/serving/test_export_patients.py::*[[]images-private]",
    "tests/medimg/serving/test_onnx.py::test_every_family_converts[[]efficientnet_b0-batch]",
    "tests/medimg/studies/test_declared.py::test_a_study_ends_*[[]overheads]",
    "tests/medimg/audit/test_audit.py::test_lira_with_shadow_models_kept_*",
    "tests/medimg/phantom/test_phantom.py::test_a_small_cnn_learns_it_*",
    "tests/medimg/privacy/test_dp_model.py::test_without_clip_and_noise_*[[]<lambda>0]",
    "tests/medimg/privacy/test_neighbours.py::test_medimg_train_as_a_whole_*[[]0.0]",
    # Views are those of the frozen backbone, some rows of a patient those of a table.
    "tests/medimg/privacy/test_neighbours.py::test_a_patient_moves_*[[]views]",
    "tests/medimg/privacy/test_defaults.py::*[[]several0]",
    "tests/medimg/privacy/test_release.py::*[[]rows]",
    # The private one draws whom it holds out by the same lines.
    "tests/medimg/data/test_holdout.py::test_nothing_is_learnt_from_images_*[[]False]",
    "tests/medimg/recipes/test_recipe.py::test_killed_as_it_ends_*[[]vote]",
    # Rounds over the link of Flower's own are those of a classifier; a generator's go by the same messages.
    "tests/synthetic/federation/test_at_sites.py::test_a_dcgan_over_flowers_own_link",
    # Stopped and gone on with it is the same as killed; a generator of tables is killed in `test_synthesis`.
    "tests/synthetic/federation/test_tables.py::test_killed_is_uninterrupted",
    # A killed private training that another one followed goes on to the same weights and account.
    "tests/medimg/training/test_private_training.py::test_killed_and_resumed_*",
    # `test_defaults` trains a private head by command, twice.
    "tests/medimg/training/test_private_training.py::test_only_the_head_*",
    # Pseudo-labels begin with what is supervised alone.
    "tests/medimg/training/test_few_labels.py::test_nothing_depends_on_a_hidden_label[[]supervised]",
    "tests/medimg/training/test_adaptation.py::test_neither_labels_*[[]adabn]",
    "tests/medimg/data/test_holdout.py::test_nothing_is_learnt_from_rows_held_out[[]folds0]",
    "tests/medimg/evaluation/test_calibrate.py::test_a_badly_calibrated_*[[]temperature]",
    "tests/medimg/audit/test_attacks.py::test_trained_attack_*[[]mlp]",
    "tests/medimg/audit/test_bound.py::test_one_run_bound_holds_*[[]3.0]",
    *(
        f"tests/medimg/audit/test_bound.py::test_of_a_model_that_knows_nobody_*[[]{both}]"
        for both in ("20-smooth", "20-tied", "60-smooth", "60-several rows")
    ),
    "tests/medimg/privacy/test_clipping.py::test_an_empty_batch_*[[]3]",
    "tests/medimg/pipeline/test_whitening.py::test_standardised_colours_*[[]densenet121]",
    "tests/medimg/test_copied_patients.py::test_both_remedies_*[[]drop]",
    "tests/synthetic/tables/test_synthesis.py::test_resumed_is_uninterrupted[[]tvae]",
    "tests/medimg/audit/test_audit.py::test_parts_that_differ_*[[]how0]",
    # Drops, their intervals and another modality are found on hospitals that are drawn.
    "tests/medimg/validation/test_validate.py::test_from_radiographs_to_ultrasound",
    "tests/explain/test_table.py::test_values_of_interacting_features_*[[]2]",
    *(f"tests/test_concurrent_writers.py::test_two_at_once_*[[]{name}]" for name in ("explain", "inspect")),
    # Away it is in the stages of a sum and in single rounds, plain and masked.
    "tests/federated/flower/test_training.py::test_a_site_away_for_two_rounds_*",
    # Planted, trained and told they are in the open training, and a private one is held to its claim beside its twin.
    "tests/medimg/audit/test_audit.py::test_canaries_of_a_private_training_*",
    # Studies end, go on and are cut to a time in `test_declared`; what a cut says is held to numbers without training.
    "tests/medimg/studies/test_privacy_utility.py::test_every_epsilon_*",
    "tests/medimg/studies/test_declared.py::test_what_a_budget_cuts_*",
    # Two at once share a budget in `test_reservation`, without a training around it.
    "tests/medimg/privacy/test_dataset_budget.py::test_commands_at_the_same_time_*",
    # A plan is told, kept and trained by again for a head as well.
    "tests/medimg/privacy/test_defaults.py::test_they_are_told_kept_and_trained_by_again",
    # The other engine's sums are ours in `test_clipping`.
    "tests/medimg/privacy/test_dp_model.py::test_engines_train_alike",
    # A few of these files are prepared in `test_real_samples`.
    "tests/medimg/preparation/test_prepare.py::test_kermany_official_*",
    "tests/medimg/serving/test_table_export.py::test_an_export_without_parity_*",
    # Rounds of a generator that stop go on in `test_tables`, and its networks' steps in `test_dcgan`.
    "tests/synthetic/federation/test_images.py::test_a_stopped_training_*",
    # Statistics of many trainings, and benchmarks' own.
    "tests/benchmarks/test_privacy_attacks.py::test_training_on_a_table",
    "tests/benchmarks/test_dp_speed.py::*",
    "tests/benchmarks/test_command_lines.py::test_random_command_lines_end_as_they_should",
    "tests/medimg/audit/test_exchangeable.py::test_the_classifier_is_rarely_mistaken",
)


def is_exhaustive(node: str) -> bool:
    """Whether a test of this node id is one of them."""
    return any(fnmatchcase(node, pattern) for pattern in PATTERNS)
