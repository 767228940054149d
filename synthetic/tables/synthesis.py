"""A table Dataset's training part -> made rows: what `synthetic.synthesize` calls for a generator of rows."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from medimg import atomic
from medimg.data.dataset import Dataset
from medimg.data.schema import Feature
from medimg.errors import InputError
from medimg.options import flag
from medimg.privacy.defaults import coarse
from synthetic.config import SynthesizeConfig
from synthetic.dataset import NO_GUARANTEE, Made
from synthetic.public import SITE, bounds_of, stated
from synthetic.tables import privacy
from synthetic.tables.fitting import Fitted, Task, fit
from synthetic.tables.mix import largest_remainder
from synthetic.tables.privacy import PrivateGenerator
from synthetic.tables.settings import Settings, settings_for
from synthetic.tables.training import one_thread
from synthetic.tables.tuning import tune
from synthetic.tables.usefulness import Usefulness, private_usefulness, usefulness

# Of patients: fewer can only be copied.
FEWEST_PATIENTS = 10
FEWEST_OF_CLASS = 2
# Rows of a class below which it is said that they are few.
FEW_OF_CLASS = 10


def check(dataset: Dataset, config: SynthesizeConfig) -> None:
    """Refuse what can't be learnt, before anything is written.

    Raises:
        InputError: names the option, class or site.
    """
    stated(dataset, config)
    if config.model == "marginals":
        for name in ("epochs", "batch_size", "tune"):
            if getattr(config, name):
                raise InputError(f"{flag(name)}: marginals are counted once, without training; leave it out")
        for name in ("dp_clip", "dp_sampling"):
            if name in config.names_given():
                raise InputError(
                    f"{flag(name)}: marginals count every patient once, each as a row of one known length; leave it out"
                )
    rows = learnt_rows(dataset, config)
    where = f"{dataset.root}/manifest.csv"
    sites = rows.groupby("site") if config.per_site else [("", rows)]
    for site, part in sites:
        patients = part["patient"].nunique()
        if patients < FEWEST_PATIENTS:
            whose = f"of site '{site}' " if config.per_site else ""
            raise InputError(
                f"{where}: {patients} patients {whose}in split 'train' with a label; a generator of fewer than "
                f"{FEWEST_PATIENTS} can only copy them: add rows"
                + (", or leave out --per-site" if config.per_site else "")
            )
        # Private, a lone patient is protected as any other; to look who is one would cost privacy.
        if not config.is_private:
            _check_classes(part, where, f" at site '{site}'" if config.per_site else "")
    if config.is_private:
        privacy.check(dataset, rows, config)


def fit_and_sample(
    dataset: Dataset, out: Path, config: SynthesizeConfig, listener: Callable[[str, int, int], None]
) -> Made:
    """Fit on labelled rows of split train and make rows.

    Args:
        dataset: the real table.
        out: folder for `training/history.csv`, `checkpoints/` and `privacy.json`.
        config: options.
        listener: called with what is done, how far, and of how many.

    Raises:
        InputError: names the file, column or option.
    """
    check(dataset, config)
    with one_thread():
        return _Synthesis(dataset, out, config, listener).made()


class _Synthesis:
    """One run of it: what its steps share."""

    def __init__(self, dataset, out, config, listener):
        self.dataset, self.out, self.config, self.listener = dataset, out, config, listener
        self.rows = learnt_rows(dataset, config)
        self.notes = notes_on(dataset, self.rows, config)
        self.features = features_of(dataset, self.rows, config)
        self.histories: list[pd.DataFrame] = []
        self.details: dict = {}

    def made(self) -> Made:
        count = count_of(self.rows, self.config)
        made = self._per_site(count) if self.config.per_site else self._of(self.rows, count, "all")
        history = pd.concat(self.histories, ignore_index=True)
        atomic.write_csv(self.out / "training" / "history.csv", history)
        usefulness = self._checked(made)
        guarantee = self.details.pop("guarantee", NO_GUARANTEE)
        if usefulness.undertrained:
            self.notes.append(f"undertrained: {usefulness.undertrained}; {remedy(self.config)}")
        # How many rows there are is not told where patients are protected.
        counted = {} if self.config.is_private else {"training_rows": len(self.rows)}
        details = {**counted, "usefulness": usefulness.to_dict(), **self.details}
        features = made_features(self.features)
        return Made(made, features, details, self.notes, guarantee)

    def _per_site(self, count: int) -> pd.DataFrame:
        """A generator for each site, as many rows of it as it has a share of the training rows."""
        sites = sorted(self.rows["site"].unique())
        sizes = np.array([(self.rows["site"] == site).sum() for site in sites])
        parts = []
        for number, (site, share) in enumerate(zip(sites, largest_remainder(sizes, count), strict=True)):
            rows = self.rows[self.rows["site"] == site]
            if share:
                parts.append(self._of(rows, int(share), f"site-{number + 1}").assign(site=site))
        return pd.concat(parts, ignore_index=True)

    def _of(self, rows: pd.DataFrame, count: int, name: str) -> pd.DataFrame:
        """Rows by one generator."""
        config = self.config
        units = rows["patient"].nunique() if config.is_private else len(rows)
        settings = settings_for(config.model, units, config.batch_size, config.epochs, config.is_private)
        if config.tune:
            settings = self._tuned(rows, settings, name)
        private = None
        if config.is_private:
            private = PrivateGenerator(self.dataset, rows, self.out, config, settings)
            settings = private.settings
        self.details.setdefault("settings", {})[name] = settings.to_dict()
        checkpoint = self.out / "checkpoints" / f"{name}.npz"
        fitted = fit(self._task(rows, settings, name, checkpoint), private)
        self.histories.append(fitted.history.assign(generator=name))
        made = fitted.sample(self._counts(fitted, rows, count, private), config.seed)
        if private:
            words, self.details["epsilon"] = private.complete()
            self.details["guarantee"] = words
        return made

    def _task(self, rows: pd.DataFrame, settings: Settings, name: str, checkpoint: Path | None) -> Task:
        return Task(
            model=self.config.model,
            rows=rows,
            features=self.features,
            classes=classes_of(self.dataset, rows, self.config),
            settings=settings,
            seed=self.config.seed,
            bounds=bounds_of(self.features),
            checkpoint=checkpoint,
            progress=lambda done, total: self.listener(name, done, total),
        )

    def _counts(self, fitted: Fitted, rows: pd.DataFrame, count: int, private: PrivateGenerator | None) -> np.ndarray:
        """Rows of each class to make."""
        targets, classes = fitted.targets, len(fitted.task.classes)
        if private:
            weights = private.class_weights(targets, rows["patient"].to_numpy(), classes)
        elif self.config.class_mix == "equal":
            weights = np.ones(classes)
        else:
            weights = np.bincount(targets, minlength=classes)
        return largest_remainder(weights, count)

    def _tuned(self, rows: pd.DataFrame, settings: Settings, name: str) -> Settings:
        def tried(seen: pd.DataFrame, settings: Settings, what: str) -> pd.DataFrame:
            fitted = fit(self._task(seen, settings, f"{name} {what}", None))
            share = np.bincount(fitted.targets, minlength=len(fitted.task.classes))
            return fitted.sample(share, self.config.seed)

        file = self.out / "training" / f"tuning-{name}.csv"
        best, table = tune(self.dataset, rows, settings, self.config.tune, self.config.seed, tried, file)
        self.details.setdefault("tuning", {})[name] = table.to_dict("records")
        return best

    def _checked(self, made: pd.DataFrame) -> Usefulness:
        if self.config.is_private:
            return private_usefulness(self.dataset, made)
        return usefulness(self.dataset, made, self.rows, self.config.seed)


def features_of(dataset: Dataset, rows: pd.DataFrame, config: SynthesizeConfig) -> tuple[Feature, ...]:
    """Columns to learn, the site among them where rows have one: a single one is a constant, and costs nothing.

    Private: the site where it is stated which there are.
    """
    if config.is_private:
        return privacy.features_of(dataset, config)
    with_site = not config.per_site and (rows["site"] != "").any()
    features = stated(dataset, config)
    return tuple(f for f in features if f.is_input and (f.name != SITE.name or with_site))


def made_features(features: tuple[Feature, ...]) -> tuple[Feature, ...]:
    """Of the made rows' dataset.yaml: those learnt, without the site."""
    return tuple(f for f in features if f.name != SITE.name)


def count_of(rows: pd.DataFrame, config: SynthesizeConfig) -> int:
    """Rows to make; private: no more is told of the patients than their number in coarse steps."""
    if config.count:
        return config.count
    return coarse(rows["patient"].nunique()) if config.is_private else len(rows)


def remedy(config: SynthesizeConfig) -> str:
    """What helps an undertrained generator."""
    if config.is_private:
        other = "" if config.model == "marginals" else ", --model marginals, which needs fewer"
        return f"the noise is too much for so few patients: give a larger --dp-epsilon{other} or add patients"
    if config.is_federated:
        return "give more --rounds, or fewer --local-steps between two averages"
    return "give more --epochs or try settings with --tune 6"


def learnt_rows(dataset: Dataset, config: SynthesizeConfig) -> pd.DataFrame:
    """Labelled training rows, without classes that are too rare where that is asked for."""
    rows = dataset.rows("train", labelled=True)
    if config.rare_classes == "leave-out" and not config.is_private:
        count = rows.groupby("label")["patient"].transform("nunique")
        rows = rows[count >= FEWEST_OF_CLASS]
    return rows.reset_index(drop=True)


def _check_classes(rows: pd.DataFrame, where: str, at: str) -> None:
    count = rows.groupby("label")["patient"].nunique()
    rare = count[count < FEWEST_OF_CLASS]
    if len(rare):
        raise InputError(
            f"{where}: class '{rare.index[0]}' has one training patient{at}, whom a generator would copy; add rows, "
            "merge it into another class, or give --rare-classes leave-out"
        )


def classes_of(dataset: Dataset, rows: pd.DataFrame, config: SynthesizeConfig) -> tuple[str, ...]:
    """Labels that the rows have, in the Dataset's order; of a multilabel set, sets of classes count as one.

    Private: all classes of the Dataset, whoever has them.
    """
    if config.is_private:
        return dataset.classes
    labels = set(rows["label"])
    first = [name for name in dataset.classes if name in labels]
    return (*first, *sorted(labels - set(first)))


def notes_on(dataset: Dataset, rows: pd.DataFrame, config: SynthesizeConfig) -> list[str]:
    """What the user should know of the rows before anything is made of them."""
    notes = []
    left_out = [f.name for f in dataset.features if not f.is_input]
    if left_out:
        notes.append(f"columns that are no features were not learnt and are left out: {', '.join(left_out)}")
    if config.is_private:
        if not stated(dataset, config)[-1].categories:
            notes.append("sites are not learnt where --categories site=a,b does not state them")
        return notes
    labelled = dataset.rows("train", labelled=True)
    unlabelled = len(dataset.rows("train")) - len(labelled)
    if unlabelled:
        notes.append(f"{unlabelled} training rows without a label were not learnt from")
    gone = sorted(set(labelled["label"]) - set(rows["label"]))
    if gone:
        notes.append(f"classes of one training patient left out: {', '.join(gone)}")
    count = rows["label"].value_counts()
    few = [f"{name} ({n})" for name, n in count.items() if n < FEW_OF_CLASS]
    if few:
        notes.append(f"classes of few training rows, whose made rows may resemble them closely: {', '.join(few)}")
    if rows["patient"].duplicated().any():
        notes.append("patients with several rows: each made row is a patient of its own, so nothing over time is kept")
    return notes
