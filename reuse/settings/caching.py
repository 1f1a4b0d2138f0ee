"""The settings of the cache: where activations of frozen layers are kept, and what is done to them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from reuse.settings.group import Bytes, Count, Settings
from reuse.settings.setting import Maximum, Needs

MOST_VIEWS = 10_000


@dataclass(frozen=True, kw_only=True)
class StoringSettings(Settings):
    """The place of the activations of frozen layers.

    Attributes:
        cache_dir: the folder of the cache; None: `$REUSE_CACHE` or `./cache`.
        cache_dtype: in which type they are stored, such as `float16`; None: as computed.
        cache_budget: bytes that all caches together may take.
        cache_kind: where activations are kept: `disk`, `memory` for this run alone, or `auto`, the faster of them.
        rehash: read and digest all files anew; else those whose size, times and inode are the same are known.
    """

    cache_dir: str | Path | None = None
    cache_dtype: Annotated[str | None, Needs("cache")] = None
    cache_budget: Annotated[Bytes, Needs("cache")] = None
    cache_kind: Annotated[str, Needs("cache")] = "auto"
    rehash: bool = False


@dataclass(frozen=True, kw_only=True)
class CachingSettings(StoringSettings):
    """The use of the cache.

    Attributes:
        cache: False computes the frozen layers anew each epoch.
    """

    cache: bool = True


@dataclass(frozen=True, kw_only=True)
class FeatureSettings(CachingSettings):
    """Changes to what the cache holds.

    Attributes:
        views: versions of each training row, as it is and changed by `augment`, that are cached and read in turn.
        refresh_views: epochs from one new version to the next, which is computed in the background.
        feature_noise: normal noise on what frozen layers compute, in parts of each feature's deviation, such as 0.1.
    """

    views: Annotated[int | None, Maximum(MOST_VIEWS)] = None
    refresh_views: Count | None = None
    feature_noise: float = 0.0
