"""Trained runs for other programs: ONNX, programs of torch, timm's weights, safetensors; each checked, with a card."""
