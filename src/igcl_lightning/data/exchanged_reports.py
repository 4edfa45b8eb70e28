"""Pairs whose reports are exchanged between patients, to measure what wrong pairs cost."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from igcl_lightning.data.random_numbers import random_numbers
from igcl_lightning.data.report_noise import SHARES, NoiseOptions
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.batching import Ids, starts
from igcl_lightning.graphs.schema import stable_hash


class ReportExchange:
    """Draws patients, each of whom takes the reports of the next one, and the last those of the first.

    A study takes the report of the other patient's study of the same number; after the last study, of the first one
    again. Which patients are drawn depends on seed, epoch and patient; those of a smaller share are among those of a
    larger one.

    Args:
        patient: patient of each of N rows.
        study: study of each row; its images share a report.
        options: the share of patients, and whether they are drawn in every epoch.
        seed: seed of the draws.

    Raises:
        IgclError: there is only one patient.
    """

    def __init__(self, patient: pa.StringArray, study: pa.StringArray, options: NoiseOptions, seed: int = 0) -> None:
        patients, studies = patient.dictionary_encode(), study.dictionary_encode()
        self.options = options
        self.seed = seed
        self.hash = np.array([stable_hash(name) for name in patients.dictionary.to_pylist()], np.int64)
        self.num_drawn = max(2, round(options.reports * len(self.hash)))
        if len(self.hash) < 2:
            raise IgclError(f"data.noise.reports: {len(self.hash)} training patient has none to exchange reports with")
        self._patient: Ids = patients.indices.to_numpy().astype(np.int64)
        # Studies by patient, each by the order of its first row.
        code = self._patient * len(studies.dictionary) + studies.indices.to_numpy()
        _, self._first, self._study = np.unique(code, return_index=True, return_inverse=True)
        self._patient_of = self._patient[self._first]
        self._count = np.bincount(self._patient_of, minlength=len(self.hash))
        self._begin = starts(self._count)[:-1]
        self._known: tuple[int, Ids] = (-1, self._patient)

    def sources(self, epoch: int) -> Ids:
        """Return the row whose report each row has in an epoch, [N]."""
        epoch *= self.options.every_epoch
        if epoch != self._known[0]:
            self._known = epoch, self._drawn(epoch)
        return self._known[1]

    def _drawn(self, epoch: int) -> Ids:
        order = np.argsort(random_numbers(self.seed, SHARES.index("reports"), epoch, self.hash), kind="stable")
        drawn = order[: self.num_drawn]
        giver = np.arange(len(self.hash))
        giver[drawn] = np.roll(drawn, -1)
        number = np.arange(len(self._first)) - self._begin[self._patient_of]
        other = giver[self._patient_of]
        source = self._first[self._begin[other] + number % self._count[other]][self._study]
        exchanged = giver[self._patient] != self._patient
        return np.where(exchanged, source, np.arange(len(source)))
