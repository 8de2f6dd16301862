"use strict";

const CLASSES = 10;

/** Arrays for gradients that only one layer at a time needs; of each shape there is one. */
class Scratch {
  constructor(memory, images) {
    Object.assign(this, { memory, images, made: new Map() });
  }

  padded(side, channels, stride) {
    const name = `${side * stride} ${channels} ${stride}`; // spread over a stride, other pixels have to stay 0
    if (!this.made.has(name)) this.made.set(name, paddedArray(this.memory, this.images, side * stride, channels));
    return this.made.get(name);
  }
}

/** Two convolutions with BatchNorm, and a shortcut around them (option A) or none. */
class Block {
  constructor(memory, scratch, images, side, stride, inputs, channels, hasShortcut) {
    Object.assign(this, { side, stride, inputs, channels, hasShortcut });
    this.conv1 = new Convolution(memory, images, side, stride, inputs, channels);
    this.norm1 = new BatchNorm(memory, side, channels);
    this.middle = paddedArray(memory, images, side, channels);
    this.conv2 = new Convolution(memory, images, side, 1, channels, channels);
    this.norm2 = new BatchNorm(memory, side, channels);
    this.output = paddedArray(memory, images, side, channels);
    this.ofConv1 = scratch.padded(side, channels, stride);
    this.ofConv2 = scratch.padded(side, channels, 1);
  }

  forward(x, count, training) {
    this.conv1.forward(x, count);
    this.norm1.forward(this.conv1.output, this.middle, false, count, training);
    this.conv2.forward(this.middle, count);
    if (this.hasShortcut) this.copyInput(x, count);
    this.norm2.forward(this.conv2.output, this.output, this.hasShortcut, count, training);
  }

  /** The dense gradient of the output → that of x, in `ofX`. */
  backward(x, gradient, ofMiddle, ofX, count) {
    this.norm2.backward(gradient, this.output, this.conv2.output, this.ofConv2, 1, count);
    this.conv2.backward(this.middle, this.ofConv2, ofMiddle, count);
    this.norm1.backward(ofMiddle, this.middle, this.conv1.output, this.ofConv1, this.stride, count);
    this.conv1.backward(x, this.ofConv1, ofX, count);
    if (this.hasShortcut) this.addGradientOfShortcut(gradient, ofX, count);
  }

  /** x as the block's output, to which the second BatchNorm adds: every other pixel, between channels of zeros. */
  copyInput(x, count) {
    const { side, stride, inputs, channels, output } = this;
    if (stride === 1 && inputs === channels) {
      output.set(x);
      return;
    }
    const before = (channels - inputs) >> 1;
    const across = side * stride + 2;
    for (let row = 0; row < count * side; row++) {
      let to = startOfRow(row, side, 1) * channels;
      let from = startOfRow(row, side, stride) * inputs;
      for (let pixel = 0; pixel < side; pixel++, to += channels, from += stride * inputs) {
        output.fill(0, to, to + channels);
        for (let channel = 0; channel < inputs; channel++) output[to + before + channel] = x[from + channel];
      }
    }
  }

  addGradientOfShortcut(gradient, ofX, count) {
    const { side, stride, inputs, channels } = this;
    const before = (channels - inputs) >> 1;
    let from = before;
    for (let row = 0; row < count * side; row++) {
      let to = row * stride * side * stride * inputs;
      for (let pixel = 0; pixel < side; pixel++, from += channels, to += stride * inputs) {
        for (let channel = 0; channel < inputs; channel++) ofX[to + channel] += gradient[from + channel];
      }
    }
  }
}

/**
 * The network for small images of He et al. 2016, section 4.2: a convolution, three stages of blocks, the mean of each
 * channel, and a linear layer; 6n + 2 layers. With shortcuts and without it starts from the same weights.
 */
class Network {
  constructor({ depth, residual, images, side, width, random }) {
    Object.assign(this, { side, features: 4 * width });
    const memory = new Memory();
    const scratch = new Scratch(memory, images);
    this.input = paddedArray(memory, images, side, 1);
    this.stem = new Convolution(memory, images, side, 1, 1, width);
    this.norm = new BatchNorm(memory, side, width);
    this.ofStem = scratch.padded(side, width, 1);
    this.stemOutput = paddedArray(memory, images, side, width);
    this.blocks = [];
    let channels = width;
    for (let stage = 0; stage < 3; stage++) {
      for (let block = 0; block < (depth - 2) / 6; block++) {
        const stride = stage > 0 && block === 0 ? 2 : 1;
        side /= stride;
        this.blocks.push(new Block(memory, scratch, images, side, stride, channels, width << stage, residual));
        channels = width << stage;
      }
    }
    this.lastSide = side;
    this.weight = new Parameter(memory, CLASSES * channels);
    this.bias = new Parameter(memory, CLASSES);
    this.means = memory.floats(images * channels);
    this.logits = memory.floats(images * CLASSES);
    this.gradients = Array.from({ length: 3 }, () => denseArray(memory, images, this.side, width)); // none is larger
    this.initialise(random);
  }

  /** He's normal distribution for convolutions, PyTorch's uniform one for the linear layer. */
  initialise(random) {
    for (const convolution of this.convolutions) {
      const deviation = Math.sqrt(2 / (9 * convolution.outputs));
      convolution.weight.value.forEach((_, i, values) => (values[i] = deviation * random.normal()));
    }
    const bound = 1 / Math.sqrt(this.features);
    for (const { value } of [this.weight, this.bias]) {
      value.forEach((_, i, values) => (values[i] = bound * (2 * random.uniform() - 1)));
    }
  }

  get convolutions() {
    return [this.stem, ...this.blocks.flatMap((block) => [block.conv1, block.conv2])];
  }

  get norms() {
    return [this.norm, ...this.blocks.flatMap((block) => [block.norm1, block.norm2])];
  }

  /** In the order of PyTorch's `parameters()`. */
  get parameters() {
    const norms = this.norms;
    const inBlocks = this.convolutions.flatMap(({ weight }, i) => [weight, norms[i].weight, norms[i].bias]);
    return [...inBlocks, this.weight, this.bias];
  }

  /** The logits of the first `count` images of `input`. */
  forward(count, training) {
    this.stem.forward(this.input, count);
    this.norm.forward(this.stem.output, this.stemOutput, false, count, training);
    let x = this.stemOutput;
    for (const block of this.blocks) {
      block.forward(x, count, training);
      x = block.output;
    }
    this.classify(x, count);
  }

  /** The mean of each channel, and the linear layer. */
  classify(x, count) {
    const { features, lastSide, means, logits } = this;
    means.fill(0);
    for (let row = 0; row < count * lastSide; row++) {
      const image = Math.floor(row / lastSide);
      let from = startOfRow(row, lastSide, 1) * features;
      for (let pixel = 0; pixel < lastSide; pixel++) {
        for (let feature = 0; feature < features; feature++) {
          means[image * features + feature] += x[from++] / lastSide ** 2;
        }
      }
    }
    for (let image = 0; image < count; image++) {
      for (let digit = 0; digit < CLASSES; digit++) {
        let sum = this.bias.value[digit];
        for (let feature = 0; feature < features; feature++) {
          sum += this.weight.value[digit * features + feature] * means[image * features + feature];
        }
        logits[image * CLASSES + digit] = sum;
      }
    }
  }

  /** How many of the images have their highest logit at another digit than their label. */
  countErrors(labels, count) {
    let wrong = 0;
    for (let image = 0; image < count; image++) {
      let best = 0;
      for (let digit = 1; digit < CLASSES; digit++) {
        if (this.logits[image * CLASSES + digit] > this.logits[image * CLASSES + best]) best = digit;
      }
      wrong += best !== labels[image];
    }
    return wrong;
  }

  /** Every parameter's gradient of the mean cross-entropy, which is returned. */
  backward(labels, count) {
    let [gradient, ofMiddle, ofX] = this.gradients;
    const loss = this.backwardOfHead(labels, gradient, count);
    for (let i = this.blocks.length - 1; i >= 0; i--) {
      const x = i > 0 ? this.blocks[i - 1].output : this.stemOutput;
      this.blocks[i].backward(x, gradient, ofMiddle, ofX, count);
      [gradient, ofX] = [ofX, gradient];
    }
    this.norm.backward(gradient, this.stemOutput, this.stem.output, this.ofStem, 1, count);
    this.stem.backward(this.input, this.ofStem, null, count);
    return loss;
  }

  backwardOfHead(labels, gradient, count) {
    const { features, lastSide, means, logits } = this;
    const weight = this.weight.value;
    const pixels = lastSide ** 2;
    this.weight.gradient.fill(0);
    this.bias.gradient.fill(0);
    let loss = 0;
    for (let image = 0; image < count; image++) {
      const own = image * CLASSES;
      let sum = 0;
      for (let digit = 0; digit < CLASSES; digit++) sum += Math.exp(logits[own + digit]);
      loss += (Math.log(sum) - logits[own + labels[image]]) / count;
      const first = image * pixels * features;
      gradient.fill(0, first, first + features);
      for (let digit = 0; digit < CLASSES; digit++) {
        const d = (Math.exp(logits[own + digit]) / sum - (digit === labels[image] ? 1 : 0)) / count;
        this.bias.gradient[digit] += d;
        for (let feature = 0; feature < features; feature++) {
          this.weight.gradient[digit * features + feature] += d * means[image * features + feature];
          gradient[first + feature] += (d * weight[digit * features + feature]) / pixels;
        }
      }
      for (let pixel = 1; pixel < pixels; pixel++) gradient.copyWithin(first + pixel * features, first, first + features);
    }
    return loss;
  }
}
