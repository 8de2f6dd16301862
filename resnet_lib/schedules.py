"""The learning rate from step to step, as a recipe asks for it: the paper's two drops, or one cycle.

He et al. 2016, section 4.2: a tenth of the rate from 32k iterations on and a hundredth from 48k to the end at 64k.
Smith and Topin 2018, "Super-Convergence", https://arxiv.org/abs/1708.07120: the one-cycle schedule.
"""

import torch

from resnet_lib.recipes import Recipe


def make_scheduler(
    optimizer: torch.optim.Optimizer, recipe: Recipe, total_steps: int, train_errors: list[float]
) -> torch.optim.lr_scheduler.LRScheduler:
    """The recipe's learning rate, which a call of ``step()`` after each batch moves on.

    ``train_errors`` is the curve that grows while training; it ends the warm-up.
    """

    def factor(step: int) -> float:
        if recipe.warm_up and min(train_errors, default=100.0) >= 80:
            return 0.1
        return 0.1 ** ((step >= total_steps / 2) + (step >= total_steps * 3 / 4))

    if recipe.schedule == "steps":
        return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.lr, total_steps, cycle_momentum=False)
