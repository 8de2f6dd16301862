"""Training is right on processors without AVX-512, which any x86 processor can play."""

import os
import subprocess
import sys

CHILD = """
import copy
from dataclasses import replace

import torch
import torch.nn.functional as F

from resnet_lib.datasets import load_dataset
from resnet_lib.recipes import Recipe
from resnet_lib.training import Run

torch.set_num_threads(1)
digits = load_dataset("digits")
few = replace(digits, train_images=digits.train_images[:64], train_labels=digits.train_labels[:64])
for shortcut in ("none", "A", "B", "C"):
    for width in (2, 4, 6, 8):
        run = Run(Recipe(depth=8, shortcut=shortcut, width=width, epochs=3, batch_size=64), few, torch.device("cpu"))
        exact = copy.deepcopy(run.model).double()
        for model in (run.model, exact):
            images = run.images.to(next(model.parameters()).dtype)
            F.cross_entropy(model.train()(images), run.labels).backward()
        for (name, weight), precise in zip(run.model.named_parameters(), exact.parameters(), strict=True):
            error = (weight.grad - precise.grad).norm() / precise.grad.norm()
            assert error < 1e-3, f"{shortcut}, width {width}: {name}'s gradient is off by {error:.1e} of its length"
        for _ in range(3):
            run.train_epoch()
print("all gradients are right")
"""


def test_gradients_are_right_without_avx512():
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
    child = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", CHILD],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert child.returncode == 0, child.stderr
    assert child.stdout.endswith("all gradients are right\n")
