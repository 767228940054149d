"""What the statistics of the clients tell about their patients, in sentences for the report."""

_NO_NOISE = "These statistics carry no noise and are not part of any epsilon"
_AS_THEY_ARE = (
    f"{_NO_NOISE} nor of a secure sum: the coordinator sees the answers of each site as they are, and of a site with "
    "few patients they come close to the patients' own values."
)
_MASKED = (
    f"{_NO_NOISE}. They were added up in masked sums (Bonawitz et al. 2017) over all sites or none: of one site's "
    "answers the coordinator has random numbers, and learns the sums over all of them; but all sites but one together "
    "have the last one's, and sums of few patients come close to these patients' own values."
)
_SIMULATED = " In the simulation one process had every site's answers all the same."


def counts_disclosed(apart: bool, table: bool) -> str:
    """What every federation tells of its clients before the first round, whatever it trains.

    Args:
        apart: the clients are at sites of their own.
        table: of rows, not images.
    """
    sentence = (
        "Before the first round each site told how many labelled rows it has in train, val and test, of how many "
        "patients, what of a class or part it lacks, and a digest of its manifest"
    )
    if apart:
        return f"{sentence} (partition.csv, federation.json)."
    return (
        f"{sentence}; in the simulation its class counts in each part are known as well (partition.csv, "
        "partition_counts.csv, federation.json)"
        + (", and how its columns differ from the other sites' (feature_shift.csv)." if table else ".")
    )


def disclosed(config) -> list[str]:
    """Of a table.

    Args:
        config: as for `fit`, with `secure` and `is_apart`.
    """
    sentences = [
        "Before the first round the sites answered questions on their labelled training rows alone: how many there "
        "are, how many lack each column; of categories the name and count of each; of numbers and dates how many are "
        "in ever smaller intervals around the smallest and the largest value, and the sums of the values and of their "
        "squares. No row was sent as such.",
        "The smallest and largest value of a column are each some patient's, and a category with a count of 1 is one "
        "patient's.",
    ]
    if config.impute == "median":
        sentences.append(
            "For the medians values were counted in ever smaller intervals around them too, down to the values next to "
            "the median; each median is a value of some patient, or the middle of two."
        )
    elif config.impute == "most-frequent":
        sentences.append(
            "For the commonest values every different value of every number and date was counted: all of the column "
            "but who has which value. --impute median tells less."
        )
    if config.select != "none":
        by = " in each class" if config.select == "anova" else ""
        of_one = "; of a class with one patient, that is the patient's row" if by else ""
        sentences.append(f"For --select {config.select} each encoded column was summed, and its squares{by}{of_one}.")
    return [*sentences, _limits(config)]


def pixels_disclosed(config) -> list[str]:
    """Of images, with `--normalize standard` or `pca`.

    Args:
        config: with `secure` and `is_apart`.
    """
    return [
        "Before the first round the sites told, over their labelled training images alone: the number of pixels, and "
        "the sums of the channels and of their products (for three channels 13 numbers in all). No pixel was sent.",
        _limits(config),
    ]


def _limits(config) -> str:
    if config.secure == "none":
        return _AS_THEY_ARE
    return _MASKED if config.is_apart else _MASKED + _SIMULATED
