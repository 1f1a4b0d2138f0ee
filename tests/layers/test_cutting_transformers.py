"""Cuts of models of the `transformers` library in small random configurations: frozen bodies, half-frozen, adapters.

Each is frozen in three ways: all but the head, the embeddings and the first half of the layers, and wholly but for
LoRA adapters of `peft` in the last layer.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from exact_cuts import ALL_FAMILIES, ROWS, Case, hold_to_model
from reuse.errors import CutError
from reuse.layers.cutting import cut
from reuse.layers.freezing import freeze

transformers = pytest.importorskip("transformers")

SMALL = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 48}
TEXT = {"vocab_size": 60, "max_position_embeddings": 40, "pad_token_id": 0}
IMAGE = {"image_size": 16, "patch_size": 8}
LABELS = {"num_labels": 3}


@dataclass(frozen=True)
class Family:
    """A model of the library.

    Attributes:
        model: its class.
        config: its configuration's class.
        settings: of the configuration.
        inputs: what it takes: "text", "images", "clip", "sound" or "speech".
        body: patterns of what is frozen where the head alone trains.
        half: patterns of what is frozen in the half-frozen form.
        adapted: names of the layers that get an adapter.
        last: the name of its last layer.
    """

    model: str
    config: str
    settings: dict[str, Any]
    inputs: str
    body: str | list[str]
    half: str
    adapted: tuple[str, ...]
    last: int = 3


def text_family(name: str, body: str, adapted: tuple[str, ...], **settings: Any) -> Family:
    sizes = {**SMALL, **TEXT, **LABELS, **settings}
    half = f"{body}.embeddings,{body}.encoder.layer.0,{body}.encoder.layer.1"
    return Family(f"{name}ForSequenceClassification", f"{name}Config", sizes, "text", f"{body}*", half, adapted)


FAMILIES = {
    "bert": text_family("Bert", "bert", ("query", "value"), type_vocab_size=2),
    "roberta": text_family("Roberta", "roberta", ("query", "value"), type_vocab_size=1),
    "electra": text_family("Electra", "electra", ("query", "value"), embedding_size=32),
    "deberta": text_family(
        "DebertaV2",
        "deberta",
        ("query_proj", "value_proj"),
        relative_attention=True,
        position_buckets=8,
        pos_att_type=["c2p", "p2c"],
        type_vocab_size=0,
    ),
    "distilbert": Family(
        "DistilBertForSequenceClassification",
        "DistilBertConfig",
        {"dim": 32, "n_layers": 4, "n_heads": 2, "hidden_dim": 48, **TEXT, **LABELS},
        "text",
        "distilbert*",
        "distilbert.embeddings,distilbert.transformer.layer.0,distilbert.transformer.layer.1",
        ("q_lin", "v_lin"),
    ),
    "albert": Family(
        "AlbertForSequenceClassification",
        "AlbertConfig",
        {**SMALL, **TEXT, **LABELS, "embedding_size": 16},
        "text",
        "albert*",
        "albert.embeddings,albert.encoder.embedding_hidden_mapping_in",
        ("query", "value", "q_proj", "v_proj"),
        0,
    ),
    "gpt2": Family(
        "GPT2ForSequenceClassification",
        "GPT2Config",
        {
            "n_embd": 32,
            "n_layer": 4,
            "n_head": 2,
            "vocab_size": 60,
            "n_positions": 40,
            "pad_token_id": 0,
            "use_cache": False,
            **LABELS,
        },
        "text",
        "transformer*",
        "transformer.wte,transformer.wpe,transformer.h.0,transformer.h.1",
        ("c_attn",),
    ),
    "llama": Family(
        "LlamaForSequenceClassification",
        "LlamaConfig",
        {**SMALL, **TEXT, **LABELS, "num_key_value_heads": 1, "use_cache": False},
        "text",
        "model*",
        "model.embed_tokens,model.layers.0,model.layers.1",
        ("q_proj", "v_proj"),
    ),
    "t5 encoder": Family(
        "T5EncoderModel",
        "T5Config",
        {"d_model": 32, "d_kv": 16, "d_ff": 48, "num_layers": 4, "num_heads": 2, "vocab_size": 60},
        "text",
        "!encoder.final_layer_norm",
        "shared,encoder.block.0,encoder.block.1",
        ("q", "v"),
    ),
    "vit": Family(
        "ViTForImageClassification",
        "ViTConfig",
        {**SMALL, **IMAGE, **LABELS},
        "images",
        "vit*",
        "vit.embeddings,vit.*layer*.0.*,vit.*layer*.1.*",
        ("query", "value", "q_proj", "v_proj"),
    ),
    "swin": Family(
        "SwinForImageClassification",
        "SwinConfig",
        {
            "image_size": 32,
            "patch_size": 4,
            "embed_dim": 16,
            "depths": [2, 2],
            "num_heads": [2, 2],
            "window_size": 4,
            **LABELS,
        },
        "images",
        "swin*",
        "swin.embeddings,swin.encoder.layers.0",
        ("query", "value", "q_proj", "v_proj"),
        1,
    ),
    "convnext": Family(
        "ConvNextForImageClassification",
        "ConvNextConfig",
        {"hidden_sizes": [8, 12, 16, 24], "depths": [1, 1, 2, 1], **LABELS},
        "images",
        "convnext*",
        "convnext.embeddings,convnext.encoder.stages.0,convnext.encoder.stages.1",
        ("pwconv1",),
        3,
    ),
    "clip": Family(
        "CLIPModel",
        "CLIPConfig",
        {
            "projection_dim": 8,
            "text_config": {**SMALL, **TEXT, "eos_token_id": 59},
            "vision_config": {**SMALL, **IMAGE},
        },
        "clip",
        ["!*projection*", "!logit_scale"],
        "text_model,vision_model.embeddings,vision_model.pre_layrnorm,vision_model.encoder.layers.0",
        ("q_proj", "v_proj"),
    ),
    "wav2vec2": Family(
        "Wav2Vec2ForSequenceClassification",
        "Wav2Vec2Config",
        {
            **SMALL,
            **LABELS,
            "conv_dim": (8, 8),
            "conv_stride": (5, 2),
            "conv_kernel": (10, 3),
            "num_conv_pos_embeddings": 4,
            "num_conv_pos_embedding_groups": 2,
            "layerdrop": 0.1,
            "mask_time_prob": 0.0,
            "classifier_proj_size": 8,
        },
        "sound",
        "wav2vec2*",
        "wav2vec2.feature_extractor,wav2vec2.feature_projection",
        ("q_proj", "v_proj"),
    ),
    "whisper": Family(
        "WhisperForAudioClassification",
        "WhisperConfig",
        {
            "d_model": 32,
            "encoder_layers": 4,
            "decoder_layers": 1,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": 2,
            "encoder_ffn_dim": 48,
            "decoder_ffn_dim": 48,
            "num_mel_bins": 8,
            "max_source_positions": 20,
            "vocab_size": 60,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "decoder_start_token_id": 1,
            "classifier_proj_size": 8,
            **LABELS,
        },
        "speech",
        "encoder*",
        "encoder.conv1,encoder.conv2,encoder.embed_positions,encoder.layers.0,encoder.layers.1",
        ("q_proj", "v_proj"),
    ),
}
SHARES = ("head", "half", "adapters")


def make(family: Family) -> nn.Module:
    config = getattr(transformers, family.config)(**family.settings)
    return getattr(transformers, family.model)(config).double()


def adapted(family: Family) -> nn.Module:
    peft = pytest.importorskip("peft")
    model = make(family)
    linear = (
        name for name, module in model.named_modules() if type(module) in (nn.Linear, transformers.pytorch_utils.Conv1D)
    )
    names = [n for n in linear if n.endswith(family.adapted) and f".{family.last}." in n]
    return peft.get_peft_model(
        model,
        peft.LoraConfig(r=2, target_modules=names, lora_dropout=0.0, fan_in_fan_out=family.model.startswith("GPT2")),
    )


def inputs(kind: str, pixels: int) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(3, 59, (ROWS, 9), generator=generator)
    lengths = torch.tensor([9, 5, 7, 9, 3, 8, 6])
    mask = (torch.arange(9) < lengths[:, None]).long()
    tokens = tokens * mask
    images = torch.randn(ROWS, 3, pixels, pixels, generator=generator).double()
    if kind == "text":
        return {"input_ids": tokens, "attention_mask": mask}
    if kind == "images":
        return {"pixel_values": images}
    if kind == "clip":
        tokens[:, -1] = 59
        return {"input_ids": tokens, "pixel_values": images}
    if kind == "sound":
        return {"input_values": torch.randn(ROWS, 200, generator=generator).double()}
    return {"input_features": torch.randn(ROWS, 8, 40, generator=generator).double()}


def cases(name: str, share: str) -> Case:
    family = FAMILIES[name]
    given = inputs(family.inputs, 32 if name in ("swin", "convnext") else 16)
    if share == "adapters":
        return Case(partial(adapted, family), "!*lora_*", given)
    return Case(partial(make, family), family.half if share == "half" else family.body, given)


QUICK = {("bert", "head"), ("bert", "half"), ("gpt2", "adapters"), ("vit", "half")}
# A head and one of the two others, in turn; all three with REUSE_FAMILIES=all.
LEFT_OUT = {} if ALL_FAMILIES else {n: SHARES[1 + i % 2] for i, n in enumerate(FAMILIES)}
WANTED = [(n, s) for n in FAMILIES for s in SHARES if s != LEFT_OUT.get(n) or (n, s) in QUICK]
TRIED = [pytest.param(n, s, marks=[] if (n, s) in QUICK else pytest.mark.slow) for n, s in WANTED]


@pytest.mark.filterwarnings("ignore")  # the library's own
@pytest.mark.parametrize(("name", "share"), TRIED)
def test_exact(name: str, share: str) -> None:
    hold_to_model(cases(name, share), tolerance=1e-8)


def test_keys_and_values_that_a_model_returns_are_named() -> None:
    settings = {"n_embd": 32, "n_layer": 2, "n_head": 2, "vocab_size": 60, "n_positions": 40, "pad_token_id": 0}
    config = transformers.GPT2Config(**settings, bos_token_id=0, eos_token_id=0, **LABELS)
    model = transformers.GPT2ForSequenceClassification(config)
    freeze(model, "transformer*")
    with pytest.raises(CutError, match=r"'transformer' cannot be cached: it returns the keys .* set use_cache=False"):
        cut(model, {"input_ids": torch.ones(2, 5, dtype=torch.long)})
