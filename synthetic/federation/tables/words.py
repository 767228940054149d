"""What the clients of a federation of tables told of their rows, in sentences for the synthetic Dataset."""

from synthetic.config import SynthesizeConfig
from synthetic.federation.tables.agreement import HEAVY, INTERVALS, PARTS, PASSES
from synthetic.tables.columns import MOST_CODES, MOST_DECIMALS, MOST_GRADES, OFTEN

# Patients of a client below which it is said that they are few.
FEW_PATIENTS = 10


def notes(job, config: SynthesizeConfig) -> list[str]:
    """Sentences.

    Args:
        job: a `synthetic.federation.tables.job.Job`.
        config: options.
    """
    sentences = []
    if not config.is_private:
        # They count rows of classes.
        sentences += [f"{client.name}: {note}" for client in job.clients for note in client.notes]
    sentences += [_trained(job, config), *told_about(config)]
    if config.is_private:
        return sentences
    patients = {name: rows["patient"].nunique() for name, rows in job.sites.items()}
    few = [f"{name} ({number})" for name, number in patients.items() if number < FEW_PATIENTS]
    if few:
        sentences.append(f"clients of few training patients, whose updates come close to their rows: {', '.join(few)}")
    return sentences


def told_about(config: SynthesizeConfig, apart: bool = False) -> list[str]:
    """What each client told before the first round and after the last; `apart`: at a site of its own."""
    if config.is_private:
        return [
            "before the first round each client told its number of training patients, rounded down to 1, 2 or 5 times "
            "a power of ten, and how many steps of the batch take them all once; and how many patients are of each "
            "class, with noise of its own account (not of marginals, nor with --class-mix equal); after the last round "
            "the AUROC on its rows of val of a classifier trained on the made rows"
        ]
    summed = (
        "each client's as they are"
        if config.secure == "none"
        else "in masked sums over all clients, of which the coordinator had the sums alone"
        if apart
        else "summed as --secure would send them, in a simulation: a coordinator elsewhere would have had the sums "
        "alone, whoever ran this had each client's"
    )
    narrowed = (
        f"{' (not of those with --bound)' * bool(config.bound)} how many lie in ever smaller intervals around the "
        f"smallest and the largest, or around every value where they are few (up to {MOST_GRADES} different whole "
        f"numbers, {MOST_CODES} others, {MOST_GRADES} others with {OFTEN} rows each on average)"
    )
    sentences = [
        "before the first round each client told how many training rows it has",
        f"and counts without noise, {summed}: rows that lack each column; names of categories and how often each "
        f"occurs; of numbers and dates how many can be written with 0 to {MOST_DECIMALS} decimals, and{narrowed}; rows "
        "of each class, of each category in each class, and known values of each column of numbers in "
        f"{INTERVALS} intervals, those with more than 1 in {1 / HEAVY:.0f} of the values divided by {PARTS}, at most "
        f"{PASSES} times",
        "a smallest or largest value, or a category that one patient has, is that patient's",
    ]
    if apart:
        return sentences
    return [
        *sentences,
        "after the last round each client was given the made rows and told the AUROC of a classifier trained on them, "
        "and of one trained on its own rows, on its own rows of train and val",
    ]


def _trained(job, config: SynthesizeConfig) -> str:
    across = f"across {len(job.clients)} clients simulated in one process, in whose messages no row is"
    if config.model == "marginals":
        return f"counted {across}, each sending the shares of its rows by class and category, or mode of a number"
    return (
        f"trained {across}, by {job.rounds} rounds of {job.steps} steps each; every client sent its networks "
        "with Adam's moments"
    )
