"""The bugs of the hunt: what each changes in a listing, how it shows, and why it is wrong.

Every bug runs: forward, backward and evaluation, without an error or a warning. Left out is what is a choice: the paper
has the stride on the first 1×1 convolution of a bottleneck, torchvision on the 3×3; both are right.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from resnet_course.drills import evidence


@dataclass(frozen=True)
class Entry:
    """One bug: edits of a listing, and what there is to say of them."""

    listing: str  # "resnet50", "resnet20" or "finetuning"
    name: str  # what the bug is called, once it is found
    edits: dict[str, str]  # what stands in the listing once, and what takes its place
    evidence: Callable[[SimpleNamespace], str]  # tells the broken network from the correct one
    clue: str
    explanation: str
    also: str = ""  # another line that is as good an answer


# By name, what an Entry holds.
_RESNET50: dict[str, tuple[Any, ...]] = {
    "ReLU before the addition": (
        {
            "out = self.bn3(self.conv3(out))": "out = F.relu(self.bn3(self.conv3(out)))",
            "return F.relu(out + self.downsample(x))": "return out + self.downsample(x)",
        },
        evidence.lowered_share,
        "Can a block correct its input in both directions?",
        "What the branch adds is never negative, so a block can only raise its input. Add first, then apply ReLU.",
    ),
    "projection without BatchNorm": (
        {"            norm = nn.BatchNorm2d(out_channels)\n": "", "nn.Sequential(projection, norm)": "projection"},
        evidence.count_parameters,
        "7,680 parameters are missing: 2·256 + 2·512 + 2·1024 + 2·2048.",
        "A BatchNorm follows every convolution, the projection on the shortcut too; without it the shortcut's values "
        "have another scale than the branch's.",
    ),
    "stride on the last 1×1 convolution": (
        {"channels, 3, stride)": "channels, 3)", "out_channels, 1)": "out_channels, 1, stride)"},
        evidence.used_share,
        "How much of its work does a halving block throw away?",
        "The 3×3 convolution works on all pixels, and the 1×1 behind it reads a quarter of them. The stride belongs "
        "on the 3×3 (torchvision) or on the first 1×1 (the paper).",
    ),
    "[2, 4, 6, 3] blocks": (
        {"make_layer(width, width, 3, stride=1)": "make_layer(width, width, 2, stride=1)"},
        evidence.count_parameters,
        "70,400 parameters are missing: 1·1·256·64 + 3·3·64·64 + 1·1·64·256 and the BatchNorms of one block.",
        "ResNet-50 has [3, 4, 6, 3] blocks: 16 blocks of three layers, the stem and the head make 50.",
    ),
    "expansion forgotten in the head": (
        {"self.fc = nn.Linear(8 * wide, num_classes)": "self.fc = nn.Linear(8 * width, num_classes)"},
        evidence.count_parameters,
        "1,536,000 parameters are missing: 1,536 for each class.",
        "The last stage puts out 512 · 4 = 2,048 channels. The reshape makes 512 features of them without complaint: "
        "it averages four channels at a time.",
        "x = x.reshape(len(x), self.fc.in_features, -1).mean(2)  # over all pixels",
    ),
    "prediction in training mode": (
        {"    model.eval()\n": ""},
        evidence.neighbours_effect,
        "Predict one image in two batches.",
        "Without eval(), BatchNorm takes its mean and variance from the batch, so the answer for one image hangs on "
        "the others, and the running statistics go on moving.",
        "@torch.no_grad()",
    ),
    "biases in front of BatchNorm": (
        {"stride, k // 2, bias=False)": "stride, k // 2)"},
        evidence.count_parameters,
        "There are 26,560 parameters too many, one for every output channel of every convolution.",
        "BatchNorm subtracts the mean, and with it any constant that the convolution adds; its own bias does the "
        "work. The network computes the same, and carries dead weight.",
    ),
    "one block, repeated": (
        {
            "for _ in range(num_blocks - 1):\n        blocks.append(": "blocks += [",
            "Bottleneck(wide, channels))": "Bottleneck(wide, channels)] * (num_blocks - 1)",
        },
        evidence.count_parameters,
        "More than ten million parameters are missing, and yet all 16 blocks run.",
        "[block] * n repeats one object, so the blocks of a stage share their weights. Build a new block each time.",
    ),
    "no max pooling": (
        {"        x = self.maxpool(x)\n": ""},
        evidence.last_side,
        "Follow the size of the image through the network.",
        "Without the max pooling all stages work on four times the pixels. Nothing else notices, since the head "
        "averages over any size.",
        "self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)",
    ),
    "stride in the first stage": (
        {"make_layer(width, width, 3, stride=1)": "make_layer(width, width, 3, stride=2)"},
        evidence.last_side,
        "Follow the size of the image through the network.",
        "The stem's max pooling has just halved the image, so the first stage keeps its size. With stride 2, every "
        "stage sees a quarter of its pixels.",
    ),
    "dead branches": (
        {"nn.init.zeros_(self.bn3": "nn.init.zeros_(self.conv3.weight)\n        nn.init.zeros_(self.bn3"},
        evidence.moved_blocks,
        "Which weights does a training step change?",
        "One of the two may start at zero. With both, the gradient of each is a product with the other, which is "
        "zero, so the convolutions of the branch never move.",
        "nn.init.zeros_(self.bn3.weight)  # every block starts as its shortcut",
    ),
    "softmax before the cross-entropy": (
        {"return self.fc(x)": "return self.fc(x).softmax(1)"},
        evidence.loss_when_sure,
        "How small can the loss become?",
        "cross_entropy applies softmax itself. A second one squeezes the answers into 0 to 1, so the loss can't fall "
        "below ln(1 + 9/e) = 1.46, and the gradients are small.",
        "loss = F.cross_entropy(model(images), labels)",
    ),
}
_RESNET20: dict[str, tuple[Any, ...]] = {
    "missing first ReLU": (
        {"out = F.relu(self.bn1(self.conv1(x)))": "out = self.bn1(self.conv1(x))"},
        evidence.negative_share,
        "What does the second convolution of a block get to see?",
        "Without a ReLU between them, the two convolutions are one linear map (up to BatchNorm): half of the depth is "
        "gone.",
    ),
    "missing last ReLU": (
        {"return F.relu(out + fit(x, out))": "return out + fit(x, out)"},
        evidence.smallest_output,
        "What range do a block's outputs have?",
        "A ReLU follows the addition. (A network of pre-activation blocks does without, but has its ReLUs and "
        "BatchNorms in front of the convolutions.)",
    ),
    "shortcut of the activated branch": (
        {"out = F.relu(self.bn1": "x = F.relu(self.bn1", "self.conv2(out)": "self.conv2(x)"},
        evidence.identity_gap,
        "If the branch puts out zero, does the input come through?",
        "The name x is used again, so what is added is the first convolution's output, and the input goes around "
        "nothing. Keep x for the shortcut.",
        "return F.relu(out + fit(x, out))",
    ),
    "one BatchNorm in two places": (
        {"out = self.bn2(self.conv2(out))": "out = self.bn1(self.conv2(out))"},
        evidence.without_gradient,
        "Does every parameter take part?",
        "The second convolution goes through the first BatchNorm. Its running statistics mix two layers, and bn2 is "
        "never used.",
        "self.bn2 = nn.BatchNorm2d(channels)",
    ),
    "option A on the wrong axis": (
        {
            "- x.shape[1]) // 2": "- x.shape[1]) * x.shape[2] // x.shape[1] // 2",
            "(0, 0, 0, 0, side, side))": "(0, 0, side, side)).view_as(out)",
        },
        evidence.zero_channels,
        "Silence the branch, and look at the channels of a block that halves the image.",
        "F.pad begins with the last axis: the third and fourth number pad the height. The sizes multiply to the same, "
        "so view_as hides it: rows of zeros, and every channel torn in two.",
    ),
    "option A crops the image": (
        {"x = x[:, :, ::step, ::step]": "x = x[:, :, : out.shape[2], : out.shape[3]]"},
        evidence.top_left_share,
        "Silence the branch, and ask which pixels the output of a halving block depends on.",
        "The shape is right, the place is not: the shortcut carries the top left quarter of the image in full "
        "resolution, beside a branch that has seen all of it.",
        "step = math.ceil(x.shape[2] / out.shape[2])",
    ),
    "blocks in a Python list": (
        {"self.blocks = nn.ModuleList(blocks)": "self.blocks = blocks"},
        evidence.count_parameters,
        "Nearly all parameters are missing, and yet all blocks run.",
        "A module finds its layers in attributes that are modules. A plain list hides them from parameters(), so no "
        "optimizer trains them and eval() does not reach them.",
    ),
    "the caller's images, changed in place": (
        {"return (images - 0.45) / 0.25": "return images.sub_(0.45).div_(0.25)"},
        evidence.image_change,
        "Use the same images twice.",
        "sub_ and div_ overwrite the caller's tensor. The next use of the same images normalises them again, each "
        "epoch a little further off.",
    ),
    "gradients cleared before the step": (
        {"optimizer.zero_grad()\n    loss.backward()": "loss.backward()\n    optimizer.zero_grad()"},
        evidence.moved_tensors,
        "Which weights does a training step change?",
        "zero_grad() between backward() and step() throws away what backward() has found, so the step has nothing to "
        "follow.",
    ),
    "gradients that pile up": (
        {"    optimizer.zero_grad()\n": ""},
        evidence.gradient_growth,
        "Take the same step twice.",
        "backward adds to the gradients that are there. Without zero_grad(), each step follows the sum of all "
        "gradients since the start.",
        "optimizer.step()",
    ),
}

_FINETUNING: dict[str, tuple[Any, ...]] = {
    "channels by view": (
        {"pixels.permute(0, 3, 1, 2)": "pixels.view(len(pixels), 3, *pixels.shape[1:3])"},
        evidence.red_share,
        "What becomes of a photograph that is red all over?",
        "view() reads the same numbers in the same order and only counts them anew, so each channel holds a third of "
        "the rows, in all three colours. permute() turns the axes.",
    ),
    "optimizer before the new head": (
        {
            "    model.fc = nn.Linear(model.fc.in_features, num_classes)\n": "",
            "    return optimizer": "    model.fc = nn.Linear(model.fc.in_features, num_classes)\n    return optimizer",
        },
        evidence.head_moves,
        "Which weights does a training step change?",
        "The optimizer holds the parameters that the network had when it was made, with the old head among them. The "
        "new one gets gradients and never moves.",
        "optimizer = torch.optim.SGD(model.parameters(), lr, momentum=0.9)",
    ),
    "parts that are not divided": (
        {"F.cross_entropy(model(x), y) / parts": "F.cross_entropy(model(x), y)"},
        evidence.accumulated,
        "Compare with the gradient of the whole batch at once.",
        "cross_entropy averages over its part, and backward() adds the parts up. Divided by their number they are the "
        "whole batch's mean; without that the rate is as many times too large.",
    ),
    "losses that keep their graphs": (
        {"total += loss.item()": "total += loss"},
        evidence.tensor_losses,
        "Memory grows with every step. What is kept?",
        "loss is a tensor that remembers how it was computed, and a list of losses keeps every step's memory. item() "
        "takes the number alone.",
    ),
    "the same order in every epoch": (
        {"        sampler.set_epoch(epoch)\n": ""},
        evidence.same_places,
        "In which order do the photographs come in the second epoch?",
        "DistributedSampler shuffles from its seed and the number of the epoch, which nobody tells it here: every "
        "epoch has the first one's order, and the same photographs share a batch.",
        "sampler = DistributedSampler(labels, num_replicas=2, rank=rank, shuffle=True)",
    ),
}

BUGS = [
    *(Entry("resnet50", name, *told) for name, told in _RESNET50.items()),
    *(Entry("resnet20", name, *told) for name, told in _RESNET20.items()),
    *(Entry("finetuning", name, *told) for name, told in _FINETUNING.items()),
]
