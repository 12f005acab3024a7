"""Masks and class maps that the tests of the metrics share."""

import numpy as np
from scipy import ndimage

INDICES = np.indices((40, 40, 40))


def ball(centre, radius):
    return ((INDICES - np.reshape(centre, (3, 1, 1, 1))) ** 2).sum(axis=0) <= radius**2


def box(start, stop, shape=(30, 30, 30)):
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))] = True
    return mask


def blob(seed, radius=9.0):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(40, 40, 40)), 2)
    return np.sqrt(((INDICES - 19.5) ** 2).sum(axis=0)) + 60 * noise < radius


def class_map(seed):
    labels = np.zeros((40, 40, 40), dtype=np.uint8)
    labels[blob(seed, 12.0)] = 2
    labels[blob(seed + 20, 7.0)] = 1
    labels[blob(seed, 4.0)] = 3
    return labels
