"""Which packages change results with their version, and which code is pinned by one."""

import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

from reuse.caching.segment import FORMAT
from reuse.fingerprinting.importing import Import, find, load

RESULTS_DEPEND_ON = ("torch", "torchvision", "timm", "numpy", "pillow")
# Import names whose distribution has another name.
DISTRIBUTIONS = {"PIL": "pillow", "sklearn": "scikit-learn", "skimage": "scikit-image", "cv2": "opencv-python"}


@cache
def distribution_version(name: str) -> str | None:
    """Return the installed version of a distribution, None where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def base_versions() -> dict[str, str]:
    """Return the versions that are part of every prefix key."""
    versions = {name: distribution_version(name) or "absent" for name in RESULTS_DEPEND_ON}
    return versions | {"python": f"{sys.version_info.major}.{sys.version_info.minor}", "cache": str(FORMAT)}


@cache
def pinned_version(package: str) -> str | None:
    """Return what pins the code of a top-level package: its version, or Python's for the standard library.

    None for the user's own code: what is not installed as a distribution, or is installed but edited in place.
    """
    if package in sys.stdlib_module_names and package != "__main__":
        return "python"
    if not _is_installed(package):
        return None
    found = distribution_version(DISTRIBUTIONS.get(package, package)) or getattr(_loaded(package), "__version__", None)
    return None if found is None else str(found)


def _is_installed(package: str) -> bool:
    if package in sys.modules:
        module = sys.modules[package]
        places = [getattr(module, "__file__", None) or "", *getattr(module, "__path__", [])]
    else:  # a function imports it when it runs
        spec = find(package)
        places = [] if spec is None else [spec.origin or "", *(spec.submodule_search_locations or [])]
    return any(folder in str(place) for place in places for folder in ("site-packages", "dist-packages"))


def _loaded(package: str) -> ModuleType | None:
    return sys.modules.get(package) or load(Import(package, None, 0), {})
