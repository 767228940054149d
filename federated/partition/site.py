"""One client a site: the federation that the data really come from."""

import numpy as np
import pandas as pd

from medimg.data.copies import GIVEN
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.style.words import listed


def require_public_sites(dataset: Dataset) -> None:
    """Refuse a site that protected patients alone have: the Run, which names it, would tell that they are there.

    Raises:
        InputError: names the site.
    """
    manifest = dataset.manifest
    public = set(manifest.loc[manifest["split"].isin(["val", "test"]), "site"])
    hidden = sorted(set(manifest["site"]) - public)
    if hidden:
        raise InputError(
            f"{dataset.root}: site '{hidden[0]}' occurs in split 'train' alone, whose patients are protected, and the "
            "Run would tell that it does; prepare with another --split, or without this site"
        )


def by_site(dataset: Dataset) -> tuple[list[str], np.ndarray]:
    """The sites, by name, and the site of each row.

    Returns:
        Names, and int (N,), the position of each row's site among them.

    Raises:
        InputError: rows without site, or patients with rows at two sites.
    """
    manifest = dataset.manifest
    path = dataset.root / "manifest.csv"
    without = manifest["site"] == ""
    if without.any():
        row = int(np.flatnonzero(without)[0]) + 2
        raise InputError(
            f"{path} row {row}: site is empty, as in {int(without.sum())} of {len(manifest)} rows; give every row a "
            "site (data prepare: --site-column, --site-pattern), or use --partition iid, dirichlet or shards"
        )
    pairs = manifest[["patient", "site"]].drop_duplicates()
    twice = pairs[pairs["patient"].duplicated(keep=False)].groupby("patient")["site"].unique()
    if len(twice):
        copied = GIVEN in manifest
        twice_listed = listed(f"'{patient}' at {' and '.join(sites)}" for patient, sites in twice.items())
        raise InputError(
            f"{path}: {len(twice)} patients are at more than one site: {twice_listed}; where these are different "
            "people, put the site into their patient's name, else give all their rows one site"
            + (" (copied rows count as one patient: prepare with --on-duplicates drop)" * copied)
        )
    codes, names = pd.factorize(manifest["site"], sort=True)
    return [str(name) for name in names], codes
