"""Whether pretrained weights can be had, asked once and briefly: the hub's own client retries for most of a minute."""

import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import huggingface_hub
import torch
from timm.models import PretrainedCfg

SECONDS = 5.0


def can_be_had(config: PretrainedCfg) -> bool:
    """Return whether the weights of a timm model are on this machine already, or their server answers."""
    if config.file or config.state_dict:
        return True
    if config.hf_hub_id and not huggingface_hub.is_offline_mode():
        return _in_hub_cache(config.hf_hub_id) or _answers(huggingface_hub.constants.ENDPOINT)
    if config.hf_hub_id:
        return _in_hub_cache(config.hf_hub_id)
    return bool(config.url) and (_downloaded(config.url).is_file() or _answers(config.url))


def _in_hub_cache(repository: str) -> bool:
    """Return whether any weights of a repository are in the hub's cache, whose layout is documented."""
    plain = repository.rstrip("/").partition("@")[0].replace("/", "--")
    snapshots = Path(huggingface_hub.constants.HF_HUB_CACHE) / f"models--{plain}" / "snapshots"
    return any(snapshots.glob("*/*.safetensors")) or any(snapshots.glob("*/*.bin"))


def _downloaded(url: str) -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(urlsplit(url).path).name


def _answers(url: str) -> bool:
    """Ask once, through whatever proxy is set; a refusal is an answer too."""
    try:
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=SECONDS).close()  # noqa: S310
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True
