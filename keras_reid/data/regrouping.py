"""Regrouping: the identities of images after some pairs of them were said to be the same person, and others not.

Images that are the same, directly or through others, stay together. So do the images of one identity; identities with
images that are the same become one. Where two images that are not the same would be together all the same, as few
images as possible leave their identity: for that of the images they are the same as, or for a new one.
"""

from __future__ import annotations

import collections
import itertools
from collections.abc import Callable, Collection

from keras_reid.errors import ReidError

SAME, NOT_THE_SAME = "same", "not the same"  # what is said of two images

Pair = tuple[int, int]  # of images, the second judged as a hit of the first


def regroup(labels: list[str], paths: list[str], same: list[Pair], different: list[Pair]) -> list[str]:
    """Returns the identities of images after what was said of pairs of them.

    Args:
        labels: the identity of each image so far, `[N]`.
        paths: of the images, for messages.
        same: pairs that show the same person.
        different: pairs that do not.

    Returns:
        An identity for each image, `[N]`: where several become one, that of most images. A new one is named as the one
        that the images left, with "-2", "-3" and so on.

    Raises:
        ReidError: two images are the same, through others perhaps, and not the same.
    """
    return _Persons(labels, paths, same, different).names()


class _Persons:
    """Who is on the images after all that was said: a graph of images and identities, in which a person is connected.

    An image is linked to those that are "the same", which is never undone, and to the identity that it is labeled as.
    Images of which nothing is said stay with their identity and are left out of the graph.
    """

    def __init__(self, labels: list[str], paths: list[str], same: list[Pair], different: list[Pair]):
        self._labels, self._paths, self._same = labels, paths, collections.defaultdict(list)
        for a, b in same:
            self._same[a].append(b)
            self._same[b].append(a)
        self._images = collections.defaultdict(list)  # identity -> the images in the graph
        self._unit: dict[int, int] = {}  # image -> one that stands for all that are the same
        for image in sorted({image for pair in [*same, *different] for image in pair}):
            self._images[labels[image]].append(image)
            for member in _walk(image, self._same.get) if image not in self._unit else ():
                self._unit[member] = image
        for a, b in different:
            self._refuse_contradiction(a, b)
        self._left: set[tuple[int, str]] = set()  # units, and the identities that they left
        self._part(different, hits=collections.Counter(b for _, b in [*same, *different]))

    def names(self) -> list[str]:
        """Returns the name of each image's person: that of the identity with most images in it, or a new one."""
        images_of = collections.Counter(label for image, label in enumerate(self._labels) if self._stays(image))
        called: dict[str, str] = {}  # identity -> name
        for label in dict.fromkeys(self._labels):  # in the order of the dataset
            if label not in called:
                identities = [node for node in _walk(label, self._neighbors) if isinstance(node, str)]
                called.update(dict.fromkeys(identities, max(identities, key=images_of.__getitem__)))
        names = [called[label] for label in self._labels]
        new: dict[int, str] = {}  # unit that is of no identity any more -> name
        for image, unit in self._unit.items():
            if not self._stays(image):
                identity = next((node for node in _walk(image, self._neighbors) if isinstance(node, str)), None)
                if identity is None and unit not in new:
                    new[unit] = _new_name(self._labels[unit], {*self._labels, *new.values()})
                names[image] = new[unit] if identity is None else called[identity]
        return names

    def _stays(self, image: int) -> bool:
        """Returns whether an image is still of the identity that it is labeled as."""
        return (self._unit.get(image), self._labels[image]) not in self._left

    def _neighbors(self, node: int | str) -> list[int | str]:
        """Returns what an image or an identity is linked to."""
        if isinstance(node, str):
            return [image for image in self._images.get(node, ()) if self._stays(image)]
        return [*self._same.get(node, ()), *([self._labels[node]] if self._stays(node) else [])]

    def _refuse_contradiction(self, a: int, b: int) -> None:
        """Raises ReidError where two images that are not the same are the same through others."""
        if a == b:
            raise ReidError(f"{self._paths[a]!r} is said to be {NOT_THE_SAME!r} as itself: remove that line.")
        if self._unit[a] != self._unit[b]:
            return
        between = _way(a, b, self._same.get)[1:-1]
        through = f" through {self._paths[between[0]]!r}" if between else ""
        raise ReidError(
            f"the corrections contradict each other: {self._paths[a]!r} and {self._paths[b]!r} are {NOT_THE_SAME!r}, "
            f"but also {SAME!r}{through}. Look at them again, and correct one of these lines."
        )

    def _part(self, different: list[Pair], hits: collections.Counter) -> None:
        """Takes units out of their identities until no two images that are not the same are connected.

        Each time, of the links on the way from one to the other that goes whose unit is contradicted by most others of
        the identity; then one whose images are also the same as another identity's, which need no new name; then the
        one of fewest images; then the one whose images were judged as hits more often.
        """
        links = collections.defaultdict(list)  # unit and identity -> images
        for image, unit in self._unit.items():
            links[unit, self._labels[image]].append(image)
        labels = collections.defaultdict(set)
        for unit, label in links:
            labels[unit].add(label)
        against = collections.defaultdict(set)  # unit and identity -> units of that identity that contradict it
        units = [(self._unit[a], self._unit[b]) for a, b in different]
        for a, b in units:
            for label in labels[a] & labels[b]:
                against[a, label].add(b)
                against[b, label].add(a)

        def rank(link: tuple[int, str]) -> tuple:
            images, elsewhere = links[link], len(labels[link[0]]) > 1
            return len(against[link]), elsewhere, -len(images), sum(hits[image] for image in images), min(images)

        worst = {pair: max(len(against[unit, label]) for unit in pair for label in labels[unit]) for pair in units}
        for a, b in sorted(units, key=worst.__getitem__, reverse=True):
            while way := _way(a, b, self._neighbors):
                steps = [*zip(way, way[1:]), *zip(way[1:], way)]
                on_the_way = {(self._unit[one], other) for one, other in steps if isinstance(other, str)}
                self._left.add(max(on_the_way, key=rank))


def _walk(start: int | str, neighbors: Callable) -> dict:
    """Returns all nodes that are connected with the first, nearest first, each with the one before it on the way."""
    before, waiting = {start: None}, collections.deque([start])
    while waiting:
        node = waiting.popleft()
        for other in neighbors(node) or ():
            if other not in before:
                before[other] = node
                waiting.append(other)
    return before


def _way(start: int, end: int, neighbors: Callable) -> list:
    """Returns the nodes on a shortest way between two, both included; empty where there is none."""
    before, node, way = _walk(start, neighbors), end, []
    while node is not None and node in before:
        way.append(node)
        node = before[node]
    return way[::-1]


def _new_name(name: str, taken: Collection[str]) -> str:
    return next(new for new in (f"{name}-{number}" for number in itertools.count(2)) if new not in taken)
