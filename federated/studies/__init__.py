"""Studies of federation after their source papers: many trainings behind one question, as a table and a figure.

Nothing heavy is imported here: `medimg study --help` reads it.
"""

from collections.abc import Callable

from medimg.errors import InputError

# Name -> what it asks, for `medimg study --help`.
STUDIES = {
    "federated-hospitals": "which algorithm serves hospitals best: FLamby's heart disease protocol on any table with "
    "sites",
    "federated-toy": "what a few rounds give: 5 clients, 5 rounds, a small network, dealt evenly and unevenly",
    "federated-skin": "which backbone: ISIC's 9 classes over 5 equal clients, colours whitened, three backbones",
}


def function_of(name: str) -> Callable:
    """The study's function: (data, out, config, progress) -> summary table.

    Args:
        name: one of STUDIES.

    Raises:
        InputError: there is no such study.
    """
    if name == "federated-hospitals":
        from federated.studies.hospitals import federated_hospitals

        return federated_hospitals
    if name == "federated-toy":
        from federated.studies.toy import federated_toy

        return federated_toy
    if name == "federated-skin":
        from federated.studies.skin import federated_skin

        return federated_skin
    raise InputError(f"study '{name}' is not known; choose one of {', '.join(STUDIES)}")
