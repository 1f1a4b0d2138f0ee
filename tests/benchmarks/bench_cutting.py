"""What finding and checking a cut costs: one small model of each family of timm, each at its own image size.

Run: `python tests/benchmarks/bench_cutting.py`, with names of models for some of them. Everything but the classifier is
frozen. Models of the `transformers` library take 64 tokens and a mask, whole numbers both, and have the size that their
configuration has by default: bert, roberta, distilbert, albert, electra, deberta-v2, gpt2, as `hf:bert`. Seconds are
those of the processor, with one thread; a forward pass is one of the rows that a cut is checked on, clocked in the same
process. The aim is ten forward passes or ten seconds, whichever is more. Models are as timm makes them, with random
weights; where torch.export is used, its import is not counted.
"""

import argparse
import statistics
import time
import warnings
from dataclasses import dataclass
from importlib import import_module

import timm
import torch
from torch import nn

from reuse.errors import CutError
from reuse.layers.cutting import ROWS, cut
from reuse.layers.freezing import freeze
from reuse.nn.outputs import output_layers

Inputs = torch.Tensor | dict[str, torch.Tensor]
SECONDS = PASSES = 10
SHOWN = 10
QUICK = ["resnet10t", "lcnet_035"]
# One model of each file of `timm.models` that has a small one; `:64` stands for another image size than its own.
NAMES = """
beit_base_patch16_224 botnet26t_256 cait_xxs24_224 cpubone_b0_bfrobust coat_mini convit_small convmixer_768_32
convnext_atto crossvit_tiny_240 cs3darknet_s csatv2 cspnext_tiny davit_tiny deit_tiny_patch16_224 densenet121 dla34
dpn48b edgenext_xx_small efficientformer_l1 efficientformerv2_s0 efficientvim_m1 efficientnet_b0 efficientvit_b0
efficientvit_m0 ese_vovnet19b_dw eva02_tiny_patch14_224 fasternet_t0 fastvit_t8 focalnet_tiny_srf gcvit_xxtiny
ghostnet_050 gmlp_ti16_224 hardcorenas_a hgnetv2_b0 hiera_tiny_224 sam2_hiera_tiny hrnet_w18_small_v2 iformer_t
inception_next_tiny inception_resnet_v2 inception_v3 inception_v4 lcnetv2_small levit_128s lowformer_b0
mambaout_femto maxvit_pico_rw_256 caformer_s18 mixer_s32_224 mobilenetv3_small_050 mobilenetv4_conv_small
mobilenetv5_300m:64 mobilevit_xxs mvitv2_tiny naflexvit_base_patch16_gap nasnetalarge:128 nest_tiny nextvit_small
nf_regnet_b0 pit_ti_224 pnasnet5large:128 pvt_v2_b0 qwen3_vit_306m:64 rdnet_tiny regnetx_002 repghostnet_050
repvit_m0_9 res2net50_14w_8s resnest14d resnet18 resnetv2_50 rexnet_100 selecsls42 legacy_seresnet18 sequencer2d_s
shvit_s1 skresnet18 starnet_s1 swiftformer_xs swin_tiny_patch4_window7_224 swinv2_tiny_window8_256
swinv2_cr_tiny_ns_224 tiny_vit_11m_224 tinynet_e tnt_s_patch16_224 tresnet_m twins_svt_small vgg11 visformer_tiny
vit_tiny_patch16_224 vit_small_r26_s32_224 vit_relpos_small_patch16_224 samvit_base_patch16_224 vitamin_small_224
volo_d1_224 vovnet39a xception xception41 xcit_nano_12_p8_224
"""

TOKENS = 64
NAMES += "hf:bert hf:roberta hf:distilbert hf:albert hf:electra hf:deberta-v2 hf:gpt2"


@dataclass(frozen=True)
class Cost:
    """What the cut of a model cost.

    Attributes:
        name: of the model.
        seconds: of the processor.
        forward: of the processor, for a forward pass of the rows of the check.
        end: the engine, or why there is no cut.
    """

    name: str
    seconds: float
    forward: float
    end: str

    @property
    def share(self) -> float:
        """What it took of what it may take."""
        return self.seconds / max(SECONDS, PASSES * self.forward)

    def __str__(self) -> str:
        passes = self.seconds / self.forward
        return f"{self.name:34} {self.seconds:8.1f} {self.forward:8.2f} {passes:8.1f} {self.share:6.2f}  {self.end}"


def cost_of(name: str) -> Cost:
    """Cut a model, given as `name` or `name:pixels`, and return what that cost."""
    model, inputs = text_model(name[3:]) if name.startswith("hf:") else image_model(name)
    freeze(model, [f"!{layer}" for layer in output_layers(model)])
    model.eval()
    with torch.no_grad():
        forward = statistics.median(clocked(lambda: called(model, inputs)) for _ in range(3))
    ends: list[str] = []
    seconds = clocked(lambda: ends.append(end_of(model, inputs)))
    return Cost(name, seconds, forward, ends[0])


def called(model: nn.Module, inputs: Inputs) -> object:
    return model(**inputs) if isinstance(inputs, dict) else model(inputs)


def text_model(name: str) -> tuple[nn.Module, Inputs]:
    transformers = import_module("transformers")
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(name, num_labels=7, pad_token_id=0)
    model = transformers.AutoModelForSequenceClassification.from_config(config)
    lengths = torch.arange(ROWS[-1])[:, None] + TOKENS // 2
    mask = (torch.arange(TOKENS) < lengths).long()
    return model, {"input_ids": torch.randint(1, config.vocab_size, mask.shape) * mask, "attention_mask": mask}


def image_model(name: str) -> tuple[nn.Module, Inputs]:
    name, _, size = name.partition(":")
    torch.manual_seed(0)
    arguments = {"img_size": int(size)} if size and "vit" in name else {}
    model = timm.create_model(name, num_classes=7, **arguments)
    pixels = int(size or model.default_cfg["input_size"][-1])
    return model, torch.randn(ROWS[-1], 3, pixels, pixels)


def end_of(model: nn.Module, inputs: Inputs) -> str:
    try:
        return cut(model, inputs).engine
    except CutError as error:
        return f"refused: {error}"


def clocked(work: object) -> float:
    started = time.process_time()
    work()  # type: ignore[operator]
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="models of timm; one of each family by default")
    parser.add_argument("--quick", action="store_true", help="two small models: shows that it runs")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    warnings.simplefilter("ignore")
    for name in ("torch._dynamo", "torch.export"):  # not to be counted with the first model that needs them
        import_module(name)
    heading = f"{'model':34} {'seconds':>8} {'a pass':>8} {'passes':>8} {'share':>6}  by"
    costs = []
    for name in QUICK if arguments.quick else arguments.names or NAMES.split():
        costs.append(cost_of(name))
        print(costs[-1], flush=True)
    met = sum(cost.share <= 1 for cost in costs)
    print(f"\n{met} of {len(costs)} within {PASSES} forward passes or {SECONDS} s; median {median(costs):.1f} s")
    print(f"the slowest:\n{heading}")
    for cost in sorted(costs, key=lambda cost: -cost.share)[:SHOWN]:
        print(cost)


def median(costs: list[Cost]) -> float:
    return statistics.median(cost.seconds for cost in costs)


if __name__ == "__main__":
    main()
