"""The lowest version of torch, which cannot do some of what tests ask for."""

import torch

ON_TORCH_2_9 = torch.__version__.startswith("2.9.")
