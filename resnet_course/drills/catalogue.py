"""The bugs of the hunt: what each changes in a listing, how it shows, and why it is wrong. `resnet_course.drills.bugs`
turns them into listings with line numbers.

Every bug runs: forward, backward and evaluation, without an error or a warning. Left out is what is a choice: the paper
has the stride on the first 1×1 convolution of a bottleneck, torchvision on the 3×3; both are right.
"""

import resnet_course.drills.measurements as measure
from resnet_course.drills.entries import Entry, Symptom


def _count(right: int) -> Symptom:
    return Symptom("parameters", measure.count_parameters, "{:,}", lambda found: found == right)


_RESNET50, _RESNET20 = _count(25_557_032), _count(269_722)
_LAST_SIDE = Symptom(
    "pixels a side behind the last stage, for an image of 224×224", measure.last_side, "{}", lambda side: side == 7
)

CATALOGUE = (
    Entry(
        "ReLU before the addition",
        "resnet50",
        (
            ("out = self.bn3(self.conv3(out))", "out = F.relu(self.bn3(self.conv3(out)))"),
            ("return F.relu(out + self.downsample(x))", "return out + self.downsample(x)"),
        ),
        Symptom("values that a block lowers", measure.lowered_share, "{:.0f} %", lambda share: share > 10),
        "Can a block correct its input in both directions?",
        "What the branch adds is never negative, so a block can only raise its input. Add first, then apply ReLU.",
    ),
    Entry(
        "projection without BatchNorm",
        "resnet50",
        (
            ("            norm = nn.BatchNorm2d(out_channels)\n", ""),
            ("self.downsample = nn.Sequential(projection, norm)", "self.downsample = projection"),
        ),
        _RESNET50,
        "7,680 parameters are missing: 2·256 + 2·512 + 2·1024 + 2·2048.",
        "A BatchNorm follows every convolution, the projection on the shortcut too; without it the shortcut's values "
        "have another scale than the branch's.",
    ),
    Entry(
        "stride on the last 1×1 convolution",
        "resnet50",
        (
            ("self.conv2 = conv(channels, channels, 3, stride)", "self.conv2 = conv(channels, channels, 3)"),
            ("self.conv3 = conv(channels, out_channels, 1)", "self.conv3 = conv(channels, out_channels, 1, stride)"),
        ),
        Symptom(
            "pixels of the 3×3 convolution that are used", measure.used_share, "{:.0f} %", lambda share: share > 90
        ),
        "How much of its work does a halving block throw away?",
        "The 3×3 convolution works on all pixels, and the 1×1 behind it reads a quarter of them. The stride belongs on "
        "the 3×3 (torchvision) or on the first 1×1 (the paper).",
    ),
    Entry(
        "[2, 4, 6, 3] blocks",
        "resnet50",
        (("make_layer(width, width, 3, stride=1)", "make_layer(width, width, 2, stride=1)"),),
        _RESNET50,
        "70,400 parameters are missing: 1·1·256·64 + 3·3·64·64 + 1·1·64·256 and the BatchNorms of one block.",
        "ResNet-50 has [3, 4, 6, 3] blocks: 16 blocks of three layers, the stem and the head make 50.",
    ),
    Entry(
        "expansion forgotten in the head",
        "resnet50",
        (("self.fc = nn.Linear(8 * wide, num_classes)", "self.fc = nn.Linear(8 * width, num_classes)"),),
        _RESNET50,
        "1,536,000 parameters are missing: 1,536 for each class.",
        "The last stage puts out 512 · 4 = 2,048 channels. The reshape makes 512 features of them without complaint: "
        "it averages four channels at a time.",
        also=("x = x.reshape(len(x), self.fc.in_features, -1).mean(2)  # over all pixels",),
    ),
    Entry(
        "prediction in training mode",
        "resnet50",
        (("    model.eval()\n", ""),),
        Symptom(
            "change of an image's prediction when its neighbours in the batch are others",
            measure.neighbours_effect,
            "{:.0f} %",
            lambda percent: percent < 0.1,
        ),
        "Predict one image in two batches.",
        "Without eval(), BatchNorm takes its mean and variance from the batch, so the answer for one image hangs on "
        "the others, and the running statistics go on moving.",
        also=("@torch.no_grad()",),
    ),
    Entry(
        "biases in front of BatchNorm",
        "resnet50",
        (("stride, k // 2, bias=False)", "stride, k // 2)"),),
        _RESNET50,
        "26,560 parameters are too many, one for every output channel of every convolution.",
        "BatchNorm subtracts the mean, and with it any constant that the convolution adds; its own bias does the work. "
        "The network computes the same, and carries dead weight.",
    ),
    Entry(
        "one block, repeated",
        "resnet50",
        (
            (
                """    for _ in range(num_blocks - 1):
        blocks.append(Bottleneck(wide, channels))
""",
                "    blocks += [Bottleneck(wide, channels)] * (num_blocks - 1)\n",
            ),
        ),
        _RESNET50,
        "More than ten million parameters are missing, and yet all 16 blocks run.",
        "[block] * n repeats one object, so the blocks of a stage share their weights. Build a new block each time.",
    ),
    Entry(
        "no max pooling",
        "resnet50",
        (("        x = self.maxpool(x)\n", ""),),
        _LAST_SIDE,
        "Follow the size of the image through the network.",
        "Without the max pooling all stages work on four times the pixels. Nothing else notices, since the head "
        "averages over any size.",
        also=("self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)",),
    ),
    Entry(
        "stride in the first stage",
        "resnet50",
        (("make_layer(width, width, 3, stride=1)", "make_layer(width, width, 3, stride=2)"),),
        _LAST_SIDE,
        "Follow the size of the image through the network.",
        "The stem's max pooling has just halved the image, so the first stage keeps its size. With stride 2, every "
        "stage sees a quarter of its pixels.",
    ),
    Entry(
        "dead branches",
        "resnet50",
        (
            (
                "        nn.init.zeros_(self.bn3.weight)",
                "        nn.init.zeros_(self.conv3.weight)\n        nn.init.zeros_(self.bn3.weight)",
            ),
        ),
        Symptom(
            "blocks whose first convolution has moved after three training steps",
            measure.moved_blocks,
            "{} of 16",
            lambda blocks: blocks == 16,
        ),
        "Which weights does a training step change?",
        "One of the two may start at zero. With both, the gradient of each is a product with the other, which is zero, "
        "so the convolutions of the branch never move.",
        also=("nn.init.zeros_(self.bn3.weight)  # every block starts as its shortcut",),
    ),
    Entry(
        "softmax before the cross-entropy",
        "resnet50",
        (("return self.fc(x)", "return self.fc(x).softmax(1)"),),
        Symptom(
            "loss where the network is sure and right, with ten classes",
            measure.loss_when_sure,
            "{:.2f}",
            lambda v: v < 0.01,
        ),
        "How small can the loss become?",
        "cross_entropy applies softmax itself. A second one squeezes the answers into 0 to 1, so the loss can't fall "
        "below ln(1 + 9/e) = 1.46, and the gradients are small.",
        also=("loss = F.cross_entropy(model(images), labels)",),
    ),
    Entry(
        "missing first ReLU",
        "resnet20",
        (("out = F.relu(self.bn1(self.conv1(x)))", "out = self.bn1(self.conv1(x))"),),
        Symptom(
            "negative values between a block's convolutions",
            measure.negative_share,
            "{:.0f} %",
            lambda share: share == 0,
        ),
        "What does the second convolution of a block get to see?",
        "Without a ReLU between them, the two convolutions are one linear map (up to BatchNorm): half of the depth is "
        "gone.",
    ),
    Entry(
        "missing last ReLU",
        "resnet20",
        (("return F.relu(out + fit(x, out))", "return out + fit(x, out)"),),
        Symptom("smallest value that a block puts out", measure.smallest_output, "{:.1f}", lambda value: value == 0),
        "What range do a block's outputs have?",
        "A ReLU follows the addition. (A network of pre-activation blocks does without, but has its ReLUs and "
        "BatchNorms in front of the convolutions.)",
    ),
    Entry(
        "shortcut of the activated branch",
        "resnet20",
        (
            (
                """        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
""",
                """        x = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(x))
""",
            ),
        ),
        Symptom(
            "gap between a block and the identity, with a branch of zero",
            measure.identity_gap,
            "{:.1f}",
            lambda gap: gap == 0,
        ),
        "If the branch puts out zero, does the input come through?",
        "The name x is used again, so what is added is the first convolution's output, and the input goes around "
        "nothing. Keep x for the shortcut.",
        also=("return F.relu(out + fit(x, out))",),
    ),
    Entry(
        "one BatchNorm in two places",
        "resnet20",
        (("out = self.bn2(self.conv2(out))", "out = self.bn1(self.conv2(out))"),),
        Symptom("parameter tensors without a gradient", measure.without_gradient, "{}", lambda number: number == 0),
        "Does every parameter take part?",
        "The second convolution goes through the first BatchNorm. Its running statistics mix two layers, and bn2 is "
        "never used.",
        also=("self.bn2 = nn.BatchNorm2d(channels)",),
    ),
    Entry(
        "option A on the wrong axis",
        "resnet20",
        (
            (
                """    side = (out.shape[1] - x.shape[1]) // 2
    return F.pad(x, (0, 0, 0, 0, side, side))  # width, height, channels""",
                """    side = (out.shape[1] - x.shape[1]) * x.shape[2] // x.shape[1] // 2
    return F.pad(x, (0, 0, side, side)).view_as(out)  # width, height, channels""",
            ),
        ),
        Symptom(
            "channels of zeros where the shortcut goes from 8 to 16",
            measure.zero_channels,
            "{}",
            lambda number: number == 8,
        ),
        "Silence the branch, and look at the channels of a block that halves the image.",
        "F.pad begins with the last axis: the third and fourth number pad the height. The sizes multiply to the same, "
        "so view_as hides it: rows of zeros, and every channel torn in two.",
    ),
    Entry(
        "option A crops the image",
        "resnet20",
        (("x = x[:, :, ::step, ::step]", "x = x[:, :, : out.shape[2], : out.shape[3]]"),),
        Symptom(
            "pixels of a halving shortcut that lie in the top left quarter",
            measure.top_left_share,
            "{:.0f} %",
            lambda share: 20 < share < 30,
        ),
        "Silence the branch, and ask which pixels the output of a halving block depends on.",
        "The shape is right, the place is not: the shortcut carries the top left quarter of the image in full "
        "resolution, beside a branch that has seen all of it.",
        also=("step = math.ceil(x.shape[2] / out.shape[2])",),
    ),
    Entry(
        "blocks in a Python list",
        "resnet20",
        (("self.blocks = nn.ModuleList(blocks)", "self.blocks = blocks"),),
        _RESNET20,
        "Nearly all parameters are missing, and yet all blocks run.",
        "A module finds its layers in attributes that are modules. A plain list hides them from parameters(), so no "
        "optimizer trains them and eval() does not reach them.",
    ),
    Entry(
        "the caller's images, changed in place",
        "resnet20",
        (("return (images - 0.45) / 0.25", "return images.sub_(0.45).div_(0.25)"),),
        Symptom(
            "largest change of the caller's images by a prediction", measure.image_change, "{:.1f}", lambda v: v == 0
        ),
        "Use the same images twice.",
        "sub_ and div_ overwrite the caller's tensor. The next use of the same images normalises them again, each "
        "epoch a little further off.",
    ),
    Entry(
        "gradients that pile up",
        "resnet20",
        (("    optimizer.zero_grad()\n", ""),),
        Symptom(
            "second step's gradient over the first's, with a learning rate of zero",
            measure.gradient_growth,
            "{:.2f}",
            lambda ratio: 0.99 < ratio < 1.01,
        ),
        "Take the same step twice.",
        "backward adds to the gradients that are there. Without zero_grad(), each step follows the sum of all "
        "gradients since the start.",
        also=("optimizer.step()",),
    ),
)
