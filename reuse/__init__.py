"""Train deep networks from layers that are already trained, and never compute a frozen layer twice."""

import lazy_loader

from reuse.version import __version__ as __version__

# The public names and where they are stand in __init__.pyi; each is imported when it is first used, so that
# `import reuse` does not wait for torch.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
