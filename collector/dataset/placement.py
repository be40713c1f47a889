"""How the ends of a measured path share CPUs: the column ``placement``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

SAME_CORE: Final = "same_core"
SPLIT: Final = "split"
SHARED: Final = "shared"
HOSTS: Final = "hosts"


def path_placement(
    hosts: Iterable[str], boots: Mapping[str, str | None], sets: Sequence[frozenset[int]]
) -> str | None:
    """Placement of the measured path, whose containers are on ``hosts`` with the CPUs ``sets``.

    ``hosts`` where they are on different machines, told by their boot ids: virtual hosts of one
    machine share its boot id and its CPU numbers, and count as one. None where that is not known.
    """
    used = set(hosts)
    machines = {boots[host] for host in used}
    if len(used) > 1 and None in machines:
        return None
    return HOSTS if len(machines) > 1 else placement(sets)


def placement(sets: Sequence[frozenset[int]]) -> str | None:
    """Placement on one machine from the containers' CPU sets; None where a set is not known.

    >>> placement([frozenset({1}), frozenset({1})]), placement([frozenset({1}), frozenset({2, 3})])
    ('same_core', 'split')
    >>> placement([frozenset({1, 2}), frozenset({2})]), placement([frozenset({1, 2})])
    ('shared', 'shared')
    """
    if not sets or not all(sets):
        return None
    every = frozenset[int]().union(*sets)
    if len(every) == 1:
        return SAME_CORE
    # One container with several CPUs holds both ends of the leg: they share its set.
    disjoint = len(every) == sum(len(one) for one in sets)
    return SPLIT if disjoint and len(sets) > 1 else SHARED
