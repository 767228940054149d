"""What the statistics of the clients tell about their patients, in sentences for the report."""

_LIMITS = (
    "These statistics carry no noise and no mask and are not part of any epsilon: the coordinator sees those of each "
    "site as they are, and of a site with few patients they come close to the patients' own values."
)


def counts_disclosed(apart: bool, table: bool) -> str:
    """What every federation tells of its clients before the first round, whatever it trains.

    Args:
        apart: the clients are at sites of their own.
        table: of rows, not images.
    """
    told = (
        "Before the first round each site told how many labelled rows it has in train, val and test, of how many "
        "patients, what of a class or part it lacks, and a digest of its manifest"
    )
    if apart:
        return f"{told} (partition.csv, federation.json)."
    return (
        f"{told}; in the simulation its class counts in each part are known as well (partition.csv, "
        "partition_counts.csv, federation.json)"
        + (", and how its columns differ from the other sites' (feature_shift.csv)." if table else ".")
    )


def disclosed(config) -> list[str]:
    """Of a table.

    Args:
        config: as for `fit`.
    """
    told = [
        "Before the first round each site told, over its labelled training rows alone: how many there are, how many "
        "lack each column; of numbers and dates the count, mean, sum of squared deviations, smallest and largest "
        "value; of categories the name and count of each. No row was sent as such.",
        "The smallest and largest value of a column are each some patient's, and a category with a count of 1 is one "
        "patient's.",
    ]
    if config.impute == "median":
        told.append(
            "For the medians each site counted its values in ever smaller intervals around them, down to the values "
            "next to the median; each median is a value of some patient, or the middle of two."
        )
    elif config.impute == "most-frequent":
        told.append(
            "For the commonest values each site sent every different value of every number and date with its count: "
            "all of the column but who has which value. --impute median tells less."
        )
    if config.select != "none":
        by = " in each class" if config.select == "anova" else ""
        told.append(
            f"For --select {config.select} each site sent the sum and the sum of squares of each encoded column{by}; "
            "of a class with one patient at a site, that is the patient's row."
            if by
            else f"For --select {config.select} each site sent the sum and the sum of squares of each encoded column."
        )
    return [*told, _LIMITS]


def pixels_disclosed() -> list[str]:
    """Of images, with `--normalize standard` or `pca`."""
    return [
        "Before the first round each site told, over its labelled training images alone: the number of pixels, and "
        "the sums of the channels and of their products (for three channels 10 numbers in all). No pixel was sent.",
        _LIMITS,
    ]
