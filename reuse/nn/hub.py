"""The hub of models: whether its server answers."""

import urllib.error
import urllib.request

SECONDS = 5.0  # that a server has to answer; the hub's own client retries for most of a minute


def answers(url: str) -> bool:
    """Ask once, through whatever proxy is set; a refusal is an answer too."""
    try:
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=SECONDS).close()  # noqa: S310
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True
