"""Compile every kernel for two kinds of GPU, without one: ``python compiled_kernels.py backbones``.

Prints a line for each: its name, the precision of the maps and of products, and how many instructions of
tensor cores it has.
"""

import sys
from importlib import import_module

import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from triton.runtime import JITFunction

MODULES = {
    "backbones": ["backbones.kernels.convolution_kernels", "backbones.kernels.norm_kernels"],
    "passion": ["passion.loss_kernels"],
}
ENTRIES = {
    "convolution_kernels": ["forward", "input_gradient", "weight_gradient"],
    "norm_kernels": [
        "statistics",
        "statistics_gradient",
        "activate",
        "activate_gradient",
        "measure",
        "measure_gradient",
    ],
    "loss_kernels": [
        "task_sums",
        "task_sums_gradient",
        "divergence",
        "divergence_gradient",
        "class_sums",
        "similarity",
        "similarity_gradient",
    ],
}
CONSTANTS = {
    **{"CI": 8, "CO": 16, "C": 8, "BLOCK_I": 16, "BLOCK_O": 16, "BLOCK_C": 8, "BLOCK_V": 512, "BLOCK_T": 512},
    **{"SX": 1, "SY": 1, "SZ": 2, "PX": 1, "PY": 1, "PZ": 1, "TX": 4, "TY": 4, "TZ": 8},
    **{"REFLECT": True, "NORM": True, "STATS": True, "SLOPE": 0.2, "EPSILON": 1e-5, "ACC": tl.float32},
    **{"FLOOR": 0.005, "TAU": 4.0, "LEAST": 1e-5, "F": 8, "K": 4, "BLOCK_F": 8},
}
MAPS = {"x", "weight", "bias", "z", "change", "own", "y", "logits", "student", "teacher", "features"}
COUNTS = {"N", "X", "Y", "Z", "OX", "OY", "OZ", "V", "tiles", "SR", "SC", "SV", "TC", "TV"}


def count(kernel: JITFunction, dtype: str, precision: str, architecture: int) -> int:
    """Compile `kernel` and count its instructions for tensor cores."""
    constants = {
        p.name: {**CONSTANTS, "PRECISION": precision}[p.name] for p in kernel.params if p.is_constexpr
    }
    kinds = {name: f"*{dtype}" if name in MAPS else "*fp32" for name in kernel.arg_names}
    kinds |= dict.fromkeys(COUNTS & set(kinds), "i32") | dict.fromkeys(constants, "constexpr")
    kinds |= {"index": "*i64"} if "index" in kinds else {}
    source = ASTSource(fn=kernel, signature=kinds, constexprs=constants)
    made = compile(source, target=GPUTarget("cuda", architecture, 32))
    assert made.asm["cubin"]
    return made.asm["ptx"].count("mma")


for module in MODULES[sys.argv[1]]:
    for name in ENTRIES[module.rpartition(".")[2]]:
        kernel = getattr(import_module(module), name)
        kinds = [("bf16", "ieee", 90)]
        if "PRECISION" in kernel.arg_names:
            kinds += [("fp32", "ieee", 80)]
        if name == "forward":
            kinds += [("fp32", "tf32", 80)]
        for dtype, precision, architecture in kinds:
            print(name, dtype, precision, count(kernel, dtype, precision, architecture), flush=True)
