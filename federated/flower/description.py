"""What sites tell of themselves, numbers and names; and whether they fit together."""

import json
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from types import SimpleNamespace

from federated.engine.records import ClientData
from federated.partition import partition
from medimg.data import schema
from medimg.data.dataset import SPLITS, Dataset
from medimg.errors import InputError
from medimg.untrusted.printable import printable

_LONGEST = 10_000  # characters of a text
_DEEPEST, _HEX = 200, 64


@dataclass(frozen=True)
class Description:
    """What a site holds.

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


def whole_number(value: object, least: int = 0, most: int = 2**31 - 1) -> int:
    """A count that another party told.

    Raises:
        ValueError: it is none.
    """
    if type(value) is not int or not least <= value <= most:
        raise ValueError("no count")
    return value


def described(fields: dict, name: str) -> Description:
    """What a site told by `describe`, of itself alone.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: it is something else.
    """
    description, one = Description(**fields), fields["clients"][name]
    texts = [
        description.task,
        description.negative,
        description.version,
        one["fingerprint"],
        *description.classes,
        *one["notes"],
    ]
    if len(description.clients) > 1 or not all(isinstance(text, str) and len(text) <= _LONGEST for text in texts):
        raise ValueError("texts")
    if not isinstance(description.features, dict) or not all(
        isinstance(column, str) and isinstance(kind, str | dict) for column, kind in description.features.items()
    ):
        raise ValueError("features")
    checked = {
        "examples": {part: whole_number(one["examples"][part]) for part in SPLITS},
        "patients": whole_number(one["patients"]),
        **{key: whole_number(one[key], 1, 16) for key in ("channels", "bits") if key in one},
        "fingerprint": one["fingerprint"],
        "notes": [printable(note) for note in one["notes"]],
    }
    return replace(description, clients={name: checked})


def client_told(name: str, fields: dict, private: bool) -> ClientData:
    """What a site that took the plan told of its records.

    Raises:
        KeyError, ValueError, TypeError: it is something else.
    """
    examples = 0 if private else whole_number(fields["examples"], least=1)
    return ClientData(name, "", examples, 0, printable(fields.get("key", ""), _HEX))


def small(content: object) -> object:
    """What a site told, for the log: neither long nor deep.

    Raises:
        ValueError, RecursionError: it is.
    """
    text = json.dumps(content)
    if len(text) > _LONGEST or text.count("[") + text.count("{") > _DEEPEST:
        raise ValueError("too much of it")
    return content


def together(descriptions: dict[str, Description]) -> Description:
    """What sites hold together.

    Args:
        descriptions: site -> what it told.

    Returns:
        With every column that any site has, and every client.

    Raises:
        InputError: no one model can learn from all of them.
    """
    (first, common), *others = descriptions.items()
    features, clients = dict(common.features), {}
    for address, description in others:
        if bool(description.features) != bool(features):
            kinds = [("images", "rows")[bool(f)] for f in (description.features, features)]
            raise InputError(f"site {address}: holds {kinds[0]}, {first} {kinds[1]}")
        for name in ("task", "classes", "negative", "version"):
            theirs, ours = getattr(description, name), getattr(common, name)
            what = "TensorFlow Federated" if name == "version" else name
            _same(address, first, what, theirs, ours)
        for column, kind in description.features.items():
            _same(address, "another site", f"column '{column}'", kind, features.get(column, kind))
            features[column] = kind
    for description in descriptions.values():
        clients |= description.clients
    return replace(common, features=features, clients=dict(sorted(clients.items())))


def _same(address: str, other: str, what: str, theirs, ours) -> None:
    if theirs != ours:
        raise InputError(
            f"site {address}: its {what} ({theirs}) is not that of {other} ({ours}); prepare and install "
            "all sites alike"
        )


def client_of(dataset: Dataset, name: str, seed: int, private: bool) -> Dataset:
    """The rows that the site takes part with: those of the Dataset's site of its name, or all.

    Args:
        dataset: at the site.
        name: of the client.
        seed: of the federation: which patients a client without val or test takes from its train.
        private: it takes none.
    """
    by_site = name in set(dataset.manifest["site"])
    options = SimpleNamespace(partition="site" if by_site else "iid", clients=1, seed=seed, is_private=private)
    clients = {client.name if by_site else name: client.dataset for client in partition(dataset, options)}
    return clients[name]


def describe(dataset: Dataset, client: Dataset, name: str, private: bool) -> dict:
    """Fields of a `Description` with one client.

    Args:
        dataset: at the site.
        client: its rows that take part.
        name: of the client.
        private: say nothing that the training patients decide.
    """
    facts = {**counts(client), "fingerprint": "" if private else client.fingerprint(), "notes": []}
    if private:
        facts |= {"patients": 0, "examples": {**facts["examples"], "train": 0}}
    return vars(
        Description(
            dataset.task,
            list(dataset.classes),
            dataset.negative,
            schema.describe(dataset.features),
            version("tensorflow-federated"),
            {name: facts},
        )
    )


def counts(dataset: Dataset) -> dict:
    """Labelled rows by part, patients to learn from, and how deep and colourful the images are."""
    train = dataset.rows("train", labelled=True)
    counts = {
        "examples": {part: len(dataset.rows(part, labelled=True)) for part in SPLITS},
        "patients": int(train["patient"].nunique()),
    }
    if not dataset.is_table:
        from medimg.pipeline.pixels import image_form

        form = image_form(dataset.paths(dataset.rows("train")))
        counts.update(channels=form.channels, bits=form.bits)
    return counts
