"""Sub-groups of a group that feel differently, and whether that lasts (GROUP, section 4.2)."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import ceil
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.emotions import F64, N_EMOTIONS
from pipeline.types import Event, Polarisation

Clusters = tuple[tuple[int, ...], ...]
Labels = NDArray[np.intp]

_SIDE: Final = 2
"""Members that a sub-group has at least; somebody who feels alone is none."""


@dataclass(frozen=True, slots=True)
class PolarisationSettings:
    """Constants of algorithm 7's sub-groups.

    silhouette: least mean silhouette of a split. distance: least Euclidean distance of its two farthest centroids.
    tight: least mean silhouette of a sub-group's own members, so that those who each feel something else are none.
    share: least share of the members that a sub-group holds. Of twenty who feel the same a few are misread, and likely the
        same way.
    cover: share of the members that sub-groups of two or more must hold; the others belong to none.
    small: up to so many members all splits into two are tried; above, k-means.
    largest_k: sub-groups that k-means looks for at most. rounds: of k-means at most.
    mean_s: seconds whose mean a member's distribution is, so that one odd second moves nobody to the other side.
    hold_s: seconds that a group must be split, or must not be, until it is said.
    """

    silhouette: float = 0.5
    distance: float = 0.4
    tight: float = 0.2
    share: float = 0.25
    cover: float = 0.8
    small: int = 5
    largest_k: int = 4
    rounds: int = 20
    mean_s: int = 3
    hold_s: int = 5


DEFAULT_POLARISATION = PolarisationSettings()


@dataclass(frozen=True, slots=True)
class Split:
    """Sub-groups, as indices of rows, and how far apart the two farthest centroids are."""

    clusters: Clusters
    distance: float


def split(distributions: F64, settings: PolarisationSettings = DEFAULT_POLARISATION) -> Split | None:
    """The sub-groups of (n, 7) distributions, largest first; None if they are one group.

    Up to five members the best split into two, from six k-means with the k of the best silhouette. A sub-group has at
    least two members, and a quarter of all; where there are more than five, a few may belong to none. The order of rows
    does not matter.

    Raises:
        ValueError: `distributions` is not of shape (n, 7).
    """
    if distributions.ndim != 2 or distributions.shape[1] != N_EMOTIONS:  # noqa: PLR2004 (rows and columns)
        msg = f"distributions: expected shape (n, {N_EMOTIONS}), got {distributions.shape}"
        raise ValueError(msg)
    n = len(distributions)
    if n < 2 * _SIDE:
        return None
    order = np.lexsort(distributions.T[::-1])
    rows = distributions[order]
    apart = _distances(rows, rows)
    # No centroids can be farther apart than the members are.
    if apart.max() < settings.distance:
        return None
    found = _halves(n) if n <= settings.small else _k_means(rows, apart, settings)
    best = -1.0
    sides: list[Labels] = []
    for labels in found:
        widths = _silhouettes(apart, labels)
        width = float(widths.sum()) / n
        # Of equally good splits the first.
        if width >= settings.silhouette and width > best and (sub_groups := _sub_groups(labels, widths, settings)):
            best, sides = width, sub_groups
    if not sides:
        return None
    centroids = np.array([rows[side].mean(axis=0) for side in sides])
    distance = float(_distances(centroids, centroids).max())
    if distance < settings.distance:
        return None
    clusters = [tuple(sorted(order[side].tolist())) for side in sides]
    return Split(tuple(sorted(clusters, key=lambda cluster: (-len(cluster), cluster))), distance)


def _distances(one: F64, other: F64) -> F64:
    """(n, m) Euclidean distances of (n, 7) and (m, 7)."""
    # Classes first, in memory too: sums over so few run much faster along whole matrices.
    return np.asarray(np.sqrt(_squares(np.ascontiguousarray(one.T), np.ascontiguousarray(other.T))))


def _squares(one: F64, other: F64) -> F64:
    """(n, m) squared Euclidean distances of (7, n) and (7, m)."""
    return np.asarray(((one[:, :, None] - other[:, None]) ** 2).sum(axis=0))


def _sub_groups(labels: Labels, widths: F64, settings: PolarisationSettings) -> list[Labels]:
    """Members of each sub-group of a split; none if those that count are fewer than two or hold too few members."""
    sides = [np.flatnonzero(labels == label) for label in range(labels.max() + 1)]
    least = max(_SIDE, ceil(settings.share * len(labels)))
    sides = [side for side in sides if len(side) >= least and float(widths[side].sum()) >= settings.tight * len(side)]
    covered = sum(len(side) for side in sides)
    return sides if len(sides) > 1 and covered >= settings.cover * len(labels) else []


def _silhouettes(apart: F64, labels: Labels) -> F64:
    """(n,) silhouette of each member, in [-1, 1]; who is alone has 0.

    Rousseeuw 1987, "Silhouettes", Journal of Computational and Applied Mathematics 20, 53-65.
    """
    members = labels[:, None] == np.arange(labels.max() + 1)
    sizes = members.sum(axis=0)
    totals = apart @ members
    own = sizes[labels]
    inside = totals[members] / np.maximum(own - 1, 1)
    outside = np.where(members, np.inf, totals / sizes).min(axis=1)
    widest = np.maximum(np.maximum(inside, outside), np.finfo(np.float64).tiny)
    return np.asarray(np.where(own > 1, (outside - inside) / widest, 0.0))


def _halves(n: int) -> list[Labels]:
    """All splits of n members into two with at least two on each side, each once."""
    found = []
    for size in range(_SIDE, n - _SIDE + 1):
        for side in combinations(range(n), size):
            if 0 in side:
                labels = np.ones(n, dtype=np.intp)
                labels[list(side)] = 0
                found.append(labels)
    return found


def _k_means(rows: F64, apart: F64, settings: PolarisationSettings) -> list[Labels]:
    """Labels for each k: Lloyd's algorithm, begun at the two farthest members and whoever is farthest from those."""
    seeds = [int(i) for i in np.unravel_index(int(apart.argmax()), apart.shape)]
    columns = np.ascontiguousarray(rows.T)
    found = []
    for k in range(2, min(settings.largest_k, len(rows) // _SIDE) + 1):
        if k > len(seeds):
            nearest_seed = apart[:, seeds].min(axis=1)
            if not nearest_seed.any():  # fewer different members than sub-groups
                break
            seeds.append(int(nearest_seed.argmax()))
        labels = np.asarray(apart[:, seeds].argmin(axis=1))
        for _ in range(settings.rounds):
            members = np.arange(k)[:, None] == labels
            centroids = members @ rows / members.sum(axis=1, keepdims=True)
            nearest = np.asarray(_squares(columns, centroids.T).argmin(axis=1))
            if (nearest == labels).all() or not np.bincount(nearest, minlength=k).all():
                break
            labels = nearest
        found.append(labels)
    return found


class Polariser:
    """Whether a group is polarised, second by second.

    What must last is that there are sub-groups at all: who belongs to which may change meanwhile, and is told as it
    is. Sub-groups that are gone for fewer than five seconds, because somebody crossed over for a moment or was not to
    be seen, stay as they were.
    """

    def __init__(self, settings: PolarisationSettings = DEFAULT_POLARISATION) -> None:
        self._settings = settings
        self._recent: deque[tuple[int, Mapping[str, F64]]] = deque()
        self._now = Polarisation()
        self._polarised = False
        self._since: int | None = None

    def add(self, second: int, distributions: Mapping[str, F64]) -> tuple[Polarisation, tuple[Event, ...]]:
        """What is known when a second closes, and an event if that has begun or ended.

        Args:
            second: Every second of the call, one after another.
            distributions: (7,) of every member who was read and belongs to the group, in any order.
        """
        s = self._settings
        self._recent.append((second, dict(distributions)))
        while self._recent[0][0] <= second - s.mean_s:
            self._recent.popleft()
        names = sorted(distributions)
        found = split(self._means(names), s) if names else None
        if found is not None and self._polarised:
            self._now = _named(found, names)
        if (found is not None) == self._polarised:
            self._since = None
            return self._now, ()
        if self._since is None:
            self._since = second
        if second - self._since + 1 < s.hold_s:
            return self._now, ()
        onset, self._since = self._since, None
        self._polarised = found is not None
        self._now = Polarisation() if found is None else _named(found, names)
        return self._now, (polarised_event(onset, self._now),)

    def _means(self, names: Sequence[str]) -> F64:
        """(n, 7) means of the latest seconds of these members, who have a face in the last one."""
        total, count = np.zeros((len(names), N_EMOTIONS)), np.zeros((len(names), 1))
        for _, rows in self._recent:
            there = [i for i, name in enumerate(names) if name in rows]
            if there:
                total[there] += np.array([rows[names[i]] for i in there])
                count[there] += 1
        return total / count


def _named(found: Split, names: Sequence[str]) -> Polarisation:
    """Indices → participants."""
    clusters = tuple(tuple(names[i] for i in cluster) for cluster in found.clusters)
    return Polarisation(clusters, found.distance)


def polarised_event(second: int, polarisation: Polarisation) -> Event:
    """A `polarised` event, dated at the second from which on the group was, or was no longer, polarised."""
    members = sorted(p for cluster in polarisation.clusters for p in cluster)
    data: dict[str, Any] = {
        "polarised": bool(members),
        "clusters": [list(cluster) for cluster in polarisation.clusters],
        "distance": round(polarisation.distance, 6),
    }
    return Event("polarised", float(second), tuple(members), data)
