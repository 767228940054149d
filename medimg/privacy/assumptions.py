"""What the guarantee rests on and what it does not cover, in plain sentences; only those that apply."""

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Circumstances:
    """How a private training was done.

    Attributes:
        poisson: patients were drawn by Poisson sampling; else in shuffled batches.
        early_stopping: training could stop, or its rate fall, by the validation loss.
        best_epoch: the released weights are those of the best epoch on validation.
        shared_validation: other Runs chose by the same validation patients.
        search: options were chosen by looking at results on these data.
        fixed_seed: the seed of the noise was given by the user.
        pretrained: the weights started from another data set.
        weights_file: the weights came from a file of which nothing is known.
        vouched: that weights were learnt from other patients is the user's word.
        inherited: steps of private Runs that this one started from are counted.
        in_shares: several sites add a share of the noise each, in whole numbers, and every patient is in every step.
        dataset_ledger: why the Dataset's ledger could not be written; empty: it was.
    """

    poisson: bool = True
    early_stopping: bool = False
    best_epoch: bool = False
    shared_validation: bool = False
    search: bool = False
    fixed_seed: bool = False
    pretrained: bool = False
    weights_file: bool = False
    vouched: bool = False
    inherited: bool = False
    in_shares: bool = False
    dataset_ledger: str = ""


# Of noise in floating point.
DRAWN = (
    "Not covered: noise is drawn in floating point, whose gaps can in theory be exploited.",
    "Not covered: the generator of noise and samples is pseudo-random and not cryptographic.",
)
ALWAYS: tuple[str, ...] = (
    "Protected is the participation of one patient of split 'train', with all their images or rows: neighbouring data "
    "sets differ by one patient added or removed. Patients of 'val' and 'test' are not protected.",
    "Treated as public: the options, the names of classes and columns in dataset.yaml, what is stated there or by "
    "--bound and --categories, and of the number of patients the steps of a pass (patients over --batch-size, rounded "
    "up) and, where a default is taken from it, itself rounded down to 1, 2 or 5 times a power of ten.",
    "All intermediate weights are covered, not only the last ones.",
    *DRAWN,
    "Loss and accuracy on the training patients, their number, how long steps took and the hash of the manifest are "
    "not written.",
    "Not covered: how long the training as a whole took.",
    "Runs on one Dataset folder are added up in its privacy_ledger.jsonl. A copy of the folder elsewhere, and another "
    "Dataset with the same patients, are not seen, unless this training started from weights or rows made of them. A "
    "patient is known by the same name alone.",
)

WHEN = {
    "poisson": "Patients were drawn by Poisson sampling, each in each step independently, and the samples stay secret; "
    "that is what the amplified epsilon rests on. Without amplification: as if each patient were in one known batch "
    "of each pass.",
    "early_stopping": "Not covered: the validation loss decided when to stop or to lower the learning rate; validation "
    "patients are not protected.",
    "best_epoch": "Not covered: the epoch was chosen by the validation part; validation patients are not protected.",
    "shared_validation": "Not covered: other Runs on this Dataset chose by the same validation patients.",
    "search": "Not covered: options that were chosen by looking at results of other trainings on these patients, "
    "unless those Runs are in the same ledger.",
    "fixed_seed": "Not covered: the seed of the noise was fixed; whoever knows it and the options can take the noise "
    "off. For experiments only.",
    "pretrained": "The weights started from another data set, whose patients are not protected by this training.",
    "weights_file": "Not covered: what the weights FILE was trained on is not known. Its patients are not protected; "
    "had these been among them, without privacy, the guarantee would not hold.",
    "vouched": "Not covered: that the first weights were learnt from none of these patients was said by "
    "--weights-patients others, and not checked.",
    "inherited": "The first weights, or the rows, come from private Runs on patients of this Dataset, or of whom that "
    "can't be told: their steps count in this epsilon, those of several sites as if each patient were at "
    "every one.",
}

IN_SHARES = (
    "Every patient is in every step, so nothing is gained by sampling.",
    "Contributions and noise are whole numbers, drawn exactly by a cryptographic generator from the site's key.",
)

SHUFFLED = (
    "Patients were used in shuffled batches, so no amplification by sampling is claimed: each patient is in one batch "
    "of each pass, and the neighbouring data set leaves that patient's place empty."
)


def assumptions(circumstances: Circumstances) -> list[str]:
    """The sentences for `privacy.json`: what holds always, then what this training's circumstances add."""
    sentences = list(ALWAYS)
    if circumstances.in_shares:
        sentences = [*(text for text in ALWAYS if text not in DRAWN), *IN_SHARES]
    elif not circumstances.poisson:
        sentences.append(SHUFFLED)
    for field in fields(circumstances):
        if field.name in WHEN and getattr(circumstances, field.name):
            sentences.append(WHEN[field.name])
    if circumstances.dataset_ledger:
        sentences.append(
            f"Not covered: the Dataset's privacy_ledger.jsonl could not be written ({circumstances.dataset_ledger}), "
            "so later Runs do not see this one; keep its privacy.json."
        )
    return sentences
