"""The precision of the networks: ``with autocast("bf16", device): loss = objective.loss(backbone, batch)``.

Weights, optimiser, softmax, losses and metrics stay fp32; convolutions, matrix products and the feature maps
between them are bf16 or fp16. fp16's small gradients are scaled (`scaler`).
"""

import torch

from bench_errors import InputError

DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def check_precision(precision: str, device: torch.device) -> None:
    """Raise `InputError` where the device cannot compute at `precision`."""
    if precision == "tf32" and device.type == "cpu":
        raise InputError("precision tf32 needs CUDA, found device cpu: set precision: fp32")
    if precision == "fp16" and device.type == "cpu":
        raise InputError("precision fp16 needs CUDA, found device cpu: set precision: bf16 or fp32")
    if precision == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise InputError(
            f"precision bf16 is not supported by {torch.cuda.get_device_name()}: set precision: fp16 or fp32"
        )


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """Return the context that networks run in."""
    return torch.autocast(device.type, DTYPES[precision], enabled=DTYPES[precision] != torch.float32)


def scaler(precision: str, device: torch.device) -> torch.amp.GradScaler:
    """Return the scaler of the loss, which does nothing except for fp16."""
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")


def use_precision(precision: str) -> None:
    """Let the GPU round products as `precision` says, and no further: torch itself lets cuDNN use TF32."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
