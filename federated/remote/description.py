"""What workers say that they serve: whether it fits together, and which of them trains which client."""

from dataclasses import dataclass, field, replace

from medimg.errors import InputError


@dataclass(frozen=True)
class Description:
    """What a worker serves.

    Attributes:
        task: of its Dataset.
        classes: in their order.
        negative: class of a multilabel Dataset's rows without finding.
        features: of a table, as dataset.yaml has them.
        version: of TensorFlow Federated.
        clients: name -> `examples` (labelled rows by part), `patients` (in train), `channels` and `bits` (of images
            in train), `fingerprint` and `notes`.
    """

    task: str
    classes: list[str]
    negative: str
    features: dict
    version: str
    clients: dict[str, dict] = field(default_factory=dict)


def assigned(descriptions: dict[str, Description]) -> dict[str, list[str]]:
    """Which clients each worker trains; one that several serve goes to that with the fewest examples so far.

    Args:
        descriptions: address -> what it serves.

    Returns:
        Address -> clients by name.

    Raises:
        InputError: the same client with different data.
    """
    holders: dict[str, list[str]] = {}
    for address, description in descriptions.items():
        for name in description.clients:
            holders.setdefault(name, []).append(address)
    load = dict.fromkeys(descriptions, 0)
    served: dict[str, list[str]] = {address: [] for address in descriptions}

    def examples(name: str) -> int:
        return descriptions[holders[name][0]].clients[name]["examples"]["train"]

    # Those that have no choice first, then the largest.
    for name in sorted(holders, key=lambda n: (len(holders[n]) > 1, -examples(n), n)):
        prints = {descriptions[a].clients[name]["fingerprint"] for a in holders[name]}
        if len(prints) > 1:
            raise InputError(
                f"--worker {', '.join(holders[name])}: serve different data as client '{name}'; start one of them "
                "with --site or another --client"
            )
        address = min(holders[name], key=load.__getitem__)
        served[address].append(name)
        load[address] += examples(name)
    return {address: sorted(names) for address, names in served.items()}


def together(descriptions: dict[str, Description]) -> Description:
    """What workers serve together.

    Args:
        descriptions: address -> what it serves.

    Returns:
        With every column that any site has, and every client, whose `worker` is the last that serves it.

    Raises:
        InputError: no one model can learn from all of them.
    """
    (first, common), *others = descriptions.items()
    features, clients = dict(common.features), {}
    for address, description in others:
        if bool(description.features) != bool(features):
            kinds = [("images", "rows")[bool(f)] for f in (description.features, features)]
            raise InputError(f"--worker {address}: serves {kinds[0]}, {first} {kinds[1]}")
        for name in ("task", "classes", "negative", "version"):
            theirs, ours = getattr(description, name), getattr(common, name)
            what = "TensorFlow Federated" if name == "version" else name
            _same(address, first, what, theirs, ours)
        for column, kind in description.features.items():
            _same(address, "another worker", f"column '{column}'", kind, features.get(column, kind))
            features[column] = kind
    for address, description in descriptions.items():
        for name, told in description.clients.items():
            clients[name] = {**told, "worker": address}
    return replace(common, features=features, clients=dict(sorted(clients.items())))


def _same(address: str, other: str, what: str, theirs, ours) -> None:
    if theirs != ours:
        raise InputError(
            f"--worker {address}: its {what} ({theirs}) is not that of {other} ({ours}); prepare and install "
            "all sites alike"
        )
