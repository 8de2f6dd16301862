"""ResNet-50 for 224×224 pixels: network, training, prediction."""

import torch
import torch.nn.functional as F
from torch import nn


def conv(in_channels, out_channels, k, stride=1):
    layer = nn.Conv2d(in_channels, out_channels, k, stride, k // 2, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out")
    return layer


class Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, in_channels, channels, stride=1):
        super().__init__()
        out_channels = channels * self.expansion
        self.conv1 = conv(in_channels, channels, 1)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = conv(channels, channels, 3, stride)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = conv(channels, out_channels, 1)
        self.bn3 = nn.BatchNorm2d(out_channels)
        nn.init.zeros_(self.bn3.weight)  # every block starts as its shortcut
        self.downsample = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            projection = conv(in_channels, out_channels, 1, stride)
            norm = nn.BatchNorm2d(out_channels)
            self.downsample = nn.Sequential(projection, norm)

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return F.relu(out + self.downsample(x))


def make_layer(in_channels, channels, num_blocks, stride):
    wide = channels * Bottleneck.expansion
    blocks = [Bottleneck(in_channels, channels, stride)]
    for _ in range(num_blocks - 1):
        blocks.append(Bottleneck(wide, channels))
    return nn.Sequential(*blocks)


class ResNet(nn.Module):
    def __init__(self, width=64, num_classes=1000):
        super().__init__()
        wide = width * Bottleneck.expansion
        self.conv1 = conv(3, width, 7, stride=2)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = make_layer(width, width, 3, stride=1)
        self.layer2 = make_layer(wide, 2 * width, 4, stride=2)
        self.layer3 = make_layer(2 * wide, 4 * width, 6, stride=2)
        self.layer4 = make_layer(4 * wide, 8 * width, 3, stride=2)
        self.fc = nn.Linear(8 * wide, num_classes)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.maxpool(x)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        x = x.reshape(len(x), self.fc.in_features, -1).mean(2)  # over all pixels
        return self.fc(x)


def train_step(model, optimizer, images, labels):
    model.train()
    loss = F.cross_entropy(model(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


@torch.no_grad()
def predict(model, images):
    model.eval()
    return model(images)
