"""What each patient adds to a statistic, in loops: estimates to compare those of the package with."""

import numpy as np


def left_out(statistic, patient):
    """The statistic of rows, and from leaving out one patient at a time, the influences of a jackknife.

    `statistic` maps places of rows to a number; `patient` is the patient of each row.
    """
    patient = np.asarray(patient)
    names = np.unique(patient)
    without = np.array([statistic(np.flatnonzero(patient != name)) for name in names])
    influence = np.sqrt((len(names) - 1) / len(names)) * (without.mean() - without)
    return np.append(statistic(np.arange(len(patient))), influence)


def mean_of(value, patient, everyone):
    """The mean of numbers, and what each of `everyone` adds to it, by a sum over patients written out."""
    number = len(set(patient))
    mean = sum(value) / len(value)
    added = [sum(each - mean for each, own in zip(value, patient, strict=True) if own == name) for name in everyone]
    return np.array([mean, *(each / len(value) * np.sqrt(number / (number - 1)) for each in added)])


def redrawn(statistic, patient, draws=300):
    """The standard deviation of the statistic over resamples of patients."""
    patient = np.asarray(patient)
    rows_of = [np.flatnonzero(patient == name) for name in np.unique(patient)]
    drawn = np.random.default_rng(0).integers(len(rows_of), size=(draws, len(rows_of)))
    return np.std([statistic(np.concatenate([rows_of[place] for place in each])) for each in drawn], ddof=1)


def deviation(estimate):
    return np.sqrt((estimate[1:] ** 2).sum())
