"""What the guarantee of a private federation rests on and what it does not cover, in plain sentences."""

from dataclasses import replace

from federated.config import FederateConfig
from federated.private.noise_shares import NoiseShares, colluding
from medimg.privacy.assumptions import WHEN, Circumstances, assumptions
from medimg.training.lineage import NONE, Lineage

DISJOINT = (
    "Each patient is at one site only, so a patient's epsilon is that of the site, and the total is the largest of the "
    "sites' (parallel composition)."
)
ONE_CLIENT = "A client's epsilon is that of the rounds it is asked in, and the total is the largest of the clients'."
_BY_THEMSELVES = (
    "Sites clip, draw and add noise by themselves: the coordinator and the other sites are given noisy updates only, "
    "and the guarantee holds against them and whoever gets the model, for every round's model."
)
_IN_SHARES = (
    "Sites clip and add their shares by themselves, and a site's update leaves in the masked sum alone. The guarantee "
    "holds against the coordinator, that many sites and whoever gets the model, for every round's model.",
    "Not covered: more colluding sites than that; each share less leaves the sum with less noise than is counted.",
    "Not covered: a site that adds less noise than its share, or none; it is one of those that may collude.",
    "A sum of discrete Gaussians is not quite one; the difference (tau of Kairouz, Liu, Steinke 2021) is counted.",
)
_PATIENT = (
    "Not covered: one person under two patient names, or at two sites.",
    "Treated as public: the names of the sites, and that each has training patients.",
    "Which client and which part a patient is in depends on no other patient: the Dataset says so, or for simulated "
    "clients and --audit-holdout a draw by the seed and the patient's name.",
    "Sites weigh alike. The number of a site's patients is known by the steps of its passes alone (patients over "
    "--batch-size, rounded up); images, classes, training loss and accuracy of a site are not written.",
    "A site's steps count once it is asked for them, whether its update arrives or not.",
    "Not covered: how long a site takes for its steps, which may tell how many patients were drawn, for whoever "
    "watches the training; no file of the Run tells it.",
    "Not covered: a coordinator that has a site run other TensorFlow code than this program's.",
    "In the Dataset's privacy_ledger.jsonl the sites' steps are added up as if each patient were at every site, which "
    "overstates what later Runs find spent.",
)
_ONE_MACHINE = "The sites were simulated in one process: who had that machine had all images and all sites' keys."
_CLIENT = (
    "Protected is the participation of one client with all its training patients: neighbouring federations differ by "
    "one client added or removed. A client's update as a whole is clipped.",
    "A client contains its patients: a patient's data reach the models by the update of one client alone, and which "
    "client and part another is in does not depend on them. The absence of one patient puts another update in the "
    "place of that one, which is a client removed and one added: at most twice the epsilon, at (1 + e^epsilon) times "
    "the delta.",
    "The number of clients, their names and who is asked in a round are treated as public: nothing is gained by "
    "sampling clients.",
    "The models of all rounds are covered, not only the last one.",
    "Not covered: the coordinator. TensorFlow Federated adds the noise to the sum of the updates where they are "
    "summed, so the guarantee holds against those who get the models, not against who runs that sum.",
    "The clients' training loss, accuracy, class counts, numbers of training images and patients, and how long they "
    "took are not written. Not covered: how long they took, for whoever watches the training.",
    "Not covered: validation and test patients; the models are measured on those of each client without noise.",
    "Not covered: noise is drawn in floating point, by a generator that is not cryptographic.",
    "TensorFlow Federated's noise is new each time: a round repeated after a crash gives another model, and counts "
    "once, because the first one's was not released.",
)
_VALIDATION = "Not covered: the validation part, by which the best round was chosen or the training stopped."
_OF_WEIGHTS = ("weights_file", "vouched", "inherited")


def of_patients(circumstances: Circumstances, one_machine: bool, shares: NoiseShares | None = None) -> list[str]:
    """Of `--dp patient`: what holds of any private training, then what a federation adds.

    Args:
        circumstances: of the training.
        one_machine: the sites were simulated.
        shares: of the noise, where the sum alone has all of it.
    """
    machine = [_ONE_MACHINE] if one_machine else []
    if shares is None:
        return [*assumptions(circumstances), _BY_THEMSELVES, *_PATIENT, *machine]
    every = assumptions(replace(circumstances, in_shares=True, poisson=False))
    return [*every, of_shares(shares), *_IN_SHARES, *_PATIENT, *machine]


def of_shares(shares: NoiseShares) -> str:
    """On whom the guarantee of noise in shares rests."""
    return (
        f"Each of {shares.clients} sites adds a share of the noise, and the masked sum of {shares.threshold} or more "
        f"of them carries {shares.shares} shares for certain that nobody else knows: assumed is that at most "
        f"{colluding(shares.clients)} of the sites collude, with each other or with the coordinator."
    )


def of_clients(circumstances: Circumstances) -> list[str]:
    """Of `--dp client`."""
    sentences = list(_CLIENT)
    if circumstances.early_stopping or circumstances.best_epoch:
        sentences.append(_VALIDATION)
    sentences += [WHEN[name] for name in _OF_WEIGHTS if getattr(circumstances, name)]
    if circumstances.dataset_ledger:
        # The sentence is the same whoever is protected.
        sentences.append(assumptions(circumstances)[-1])
    return sentences


def of_federation(config: FederateConfig, lineage: Lineage = NONE) -> Circumstances:
    """Circumstances of a federated Run.

    Args:
        config: options.
        lineage: where the first weights, or the rows, come from.
    """
    return Circumstances(
        early_stopping=bool(config.patience),
        best_epoch=bool(config.patience),
        shared_validation=bool(config.patience),
        search=True,
        fixed_seed=config.dp_seed is not None,
        pretrained=lineage.others,
        weights_file=lineage.unknown,
        vouched=lineage.vouched,
    )
