"""Views: a few versions of each training row, changed at random once and for all, so that they can be cached."""

from dataclasses import dataclass

from reuse.augmenting.augmentation import Augmentation, parse_augmentation
from reuse.augmenting.viewed import Viewed
from reuse.data.dataset import Dataset
from reuse.data.inputs import Inputs
from reuse.errors import UsageError
from reuse.fingerprinting.digests import digest
from reuse.fingerprinting.own_code import OwnCode
from reuse.fingerprinting.values import Description
from reuse.settings.caching import FeatureSettings


@dataclass(frozen=True)
class Views:
    """The number of versions of each row, and the one that each epoch reads.

    Number 0 is the rows as they are, which is also what they are measured on; the others are changed at random. Epochs
    take turns among `count` of them. With `refresh`, a new one takes the place of the oldest changed one every so many
    epochs. Where every other epoch is without augmentation, the turns are those of the epochs between.

    Attributes:
        count: K, 2 or more.
        refresh: epochs from one new version to the next; None: the versions stay.
        alternate: whether the second epoch and every other one after it read the rows as they are.

    Raises:
        UsageError: a number is out of range.

    Example:
        >>> [Views(3, refresh=3).of_epoch(number) for number in range(1, 13)]
        [0, 1, 2, 0, 3, 2, 0, 3, 4, 0, 5, 4]
    """

    count: int
    refresh: int | None = None
    alternate: bool = False

    def __post_init__(self) -> None:
        if self.count < 2:
            raise UsageError(
                f"views is {self.count}: give 2 or more, the rows as they are and versions that augment has changed"
            )
        if self.refresh is not None and self.refresh < 1:
            raise UsageError(
                f"refresh_views is {self.refresh}: give epochs from one new version to the next, 1 or more"
            )

    def of_epoch(self, number: int) -> int:
        """Return the number of the version that epoch `number`, from 1, reads."""
        if self.alternate and number % 2 == 0:
            return 0
        return self.versions(number)[self._turn(number) % self.count]

    def read(self, first: int, last: int) -> list[int]:
        """Return the numbers of the versions that epochs from `first` to `last` read, in the order of first use."""
        return list(dict.fromkeys(map(self.of_epoch, range(first, last + 1))))

    def versions(self, number: int) -> list[int]:
        """Return the numbers of the versions among which epochs take turns when epoch `number` begins."""
        changed, new = self.count - 1, self.new_by(number)
        return [0, *(place + max(0, new - place + changed) // changed * changed for place in range(1, self.count))]

    def new_by(self, number: int) -> int:
        """Return how many versions have taken the place of others when epoch `number` begins."""
        return 0 if self.refresh is None else self._turn(number) // self.refresh

    def next_change(self, number: int) -> int | None:
        """Return the first epoch after epoch `number` that begins with a new version; None where they stay."""
        if self.refresh is None:
            return None
        turns = (self.new_by(number) + 1) * self.refresh
        return 1 + (2 * turns if self.alternate else turns)

    def _turn(self, number: int) -> int:
        """Return how many epochs before epoch `number` had a turn."""
        return number // 2 if self.alternate else number - 1


class Viewing:
    """The versions of the training rows of one training.

    Args:
        views: how many there are.
        inputs: the rows.
        augmentation: what changes them.
        text: which describes it.
        seed: of what is drawn.
        epochs: numbers of the first and the last epoch that read them.
    """

    def __init__(
        self,
        views: Views,
        inputs: Inputs,
        augmentation: Augmentation,
        text: str,
        seed: int,
        epochs: tuple[int, int],
    ) -> None:
        self.views, self.text, self.epochs = views, text, epochs
        self._inputs, self._augmentation, self._seed = inputs, augmentation, seed
        self._identity = f"{text} / {described(augmentation)}"
        self._known: dict[int, Inputs] = {0: inputs}

    def version(self, number: int) -> Inputs:
        """Return the rows in the version `number`, from 0."""
        if number not in self._known:
            self._known[number] = Viewed(self._inputs, self._augmentation, self._identity, self._seed, number)
        return self._known[number]

    def forget(self, number: int) -> None:
        """Let go of a version that is not read again."""
        self._known.pop(number, None)

    @property
    def changed(self) -> dict[int, Inputs]:
        """The changed versions of the first epoch that any epoch reads, by number."""
        there = self.views.versions(self.epochs[0])
        return {number: self.version(number) for number in self.views.read(*self.epochs) if number and number in there}

    @property
    def later(self) -> dict[int, Inputs]:
        """The new versions that later epochs read, by number."""
        there = self.views.versions(self.epochs[0])
        return {number: self.version(number) for number in self.views.read(*self.epochs) if number not in there}

    def __str__(self) -> str:
        new = "" if self.views.refresh is None else f", a new one every {self.views.refresh} epochs"
        return f"{self.views.count} versions of each training row, as it is and changed by {self.text}{new}"


def read_views(augment: str | None, caching: FeatureSettings, *, alternate: bool) -> Views | None:
    """Return how many versions of the training rows the settings ask for; None where each epoch draws its own.

    Args:
        augment: what changes the rows; None: nothing.
        caching: how many versions are kept.
        alternate: whether every other epoch reads the rows as they are.

    Raises:
        UsageError: they do not go together; the message says what to do.
    """
    if caching.views is None:
        if caching.refresh_views is not None:
            raise UsageError("refresh_views exchanges versions of the training rows: say with views how many there are")
        return None
    if not augment:
        raise UsageError("views are versions of the training rows that augment has changed: name changes by augment")
    return Views(caching.views, caching.refresh_views, alternate)


def make_viewing(
    views: Views | None, augment: str | None, data: Dataset, seed: int, epochs: tuple[int, int]
) -> Viewing | None:
    """Return the versions of the training rows; None where each epoch draws its own.

    Args:
        views: how many there are.
        augment: what changes the rows.
        data: the rows.
        seed: of what is drawn.
        epochs: numbers of the first and the last epoch that read them.

    Raises:
        UsageError: the augmentation is none for such inputs.
    """
    if views is None or augment is None:
        return None
    augmentation = parse_augmentation(augment, data.input_shape, data.preprocessing)
    return Viewing(views, data.train.inputs, augmentation, augment, seed, epochs)


def described(augmentation: Augmentation) -> str:
    """Return a digest of what an augmentation computes, of its code too: rows that other code changes are others.

    Where the code lies and what it is called does not matter.
    """
    description = Description(lambda d, module: d.kind(type(module)), lambda d: OwnCode(d.text, d.is_own, None))
    text, code = description.text(augmentation), sorted(description.code().items())
    return digest(repr((text, code, sorted(description.packages.items()))))
