"use strict";

/*
 * The layers of the network, forward and backward, on arrays that are made once.
 *
 * Values lie image by image, row by row, pixel by pixel, with the channels of a pixel side by side. What a convolution
 * reads has a border of zeros, one pixel wide, that nobody writes to ("padded"); what it puts out has none ("dense").
 * Images are square with even sides, and the channels that a convolution puts out are a multiple of 4.
 */

/** Weights, the gradient of the loss with respect to them, and the optimizer's momentum. */
class Parameter {
  constructor(memory, length) {
    this.value = memory.floats(length);
    this.gradient = memory.floats(length);
    this.momentum = memory.floats(length);
  }
}

const denseArray = (memory, images, side, channels) => memory.floats(images * side * side * channels);
const paddedArray = (memory, images, side, channels) => denseArray(memory, images, side + 2, channels);

/** A 3×3 convolution, padded by 1, without a bias; `side` is that of the images that it puts out. */
class Convolution {
  constructor(memory, images, side, stride, inputs, outputs) {
    Object.assign(this, { inputs, outputs });
    this.weight = new Parameter(memory, 9 * inputs * outputs);
    this.turned = memory.floats(9 * inputs * outputs);
    this.output = denseArray(memory, images, side, outputs);
    this.convolve = memory.compile(convolution, side, stride, inputs, outputs);
    this.differentiate = memory.compile(weightGradient, side, stride, inputs, outputs);
    if (inputs > 1) this.convolveBack = memory.compile(convolution, side * stride, 1, outputs, inputs);
  }

  forward(x, count) {
    this.convolve(x.byteOffset, this.weight.value.byteOffset, this.output.byteOffset, count);
  }

  /**
   * The gradient of its weights and, where wanted, the dense one of x. That of its output is given padded; with a
   * stride it is spread over every other pixel. Then that of x is a convolution of it, too, with turned kernels.
   */
  backward(x, gradient, ofX, count) {
    this.differentiate(x.byteOffset, gradient.byteOffset, this.weight.gradient.byteOffset, count);
    if (!ofX) return;
    this.turn();
    this.convolveBack(gradient.byteOffset, this.turned.byteOffset, ofX.byteOffset, count);
  }

  /** Kernels turned by 180°, with the roles of inputs and outputs exchanged. */
  turn() {
    const { inputs, outputs, turned } = this;
    const { value } = this.weight;
    for (let output = 0; output < outputs; output++) {
      for (let input = 0; input < inputs; input++) {
        const from = ((output >> 2) * inputs + input) * 36 + (output & 3);
        const to = ((input >> 2) * outputs + output) * 36 + (input & 3);
        for (let pixel = 0; pixel < 9; pixel++) turned[to + 4 * (8 - pixel)] = value[from + 4 * pixel];
      }
    }
  }
}

/** BatchNorm behind a convolution, and the ReLU behind that; between the two a shortcut may be added. */
class BatchNorm {
  constructor(memory, side, channels) {
    Object.assign(this, { side, channels });
    this.weight = new Parameter(memory, channels);
    this.bias = new Parameter(memory, channels);
    this.weight.value.fill(1);
    this.runningMean = new Float32Array(channels);
    this.runningVariance = new Float32Array(channels).fill(1);
    this.sums = new Float64Array(2 * channels);
    this.mean = new Float64Array(channels);
    this.perDeviation = new Float64Array(channels);
  }

  /**
   * Dense x → padded y, and x normalised in its own place, which `backward` needs.
   * With `adds` y comes in with the values of the shortcut. In evaluation mode the running statistics are used.
   */
  forward(x, y, adds, count, training) {
    if (training) this.measure(x, count);
    else this.recall();
    const { side, channels, mean, perDeviation } = this;
    const weight = this.weight.value;
    const bias = this.bias.value;
    let from = 0;
    for (let row = 0; row < count * side; row++) {
      let to = startOfRow(row, side, 1) * channels;
      for (let pixel = 0; pixel < side; pixel++) {
        for (let channel = 0; channel < channels; channel++) {
          const normalised = (x[from] - mean[channel]) * perDeviation[channel];
          x[from++] = normalised;
          const z = normalised * weight[channel] + bias[channel] + (adds ? y[to] : 0);
          y[to++] = z > 0 ? z : 0;
        }
      }
    }
  }

  /** Mean and variance of each channel over the batch; the running ones follow them by a tenth. */
  measure(x, count) {
    const { channels, sums, mean, perDeviation, runningMean, runningVariance } = this;
    const pixels = count * this.side ** 2;
    sums.fill(0);
    for (let from = 0; from < pixels * channels; ) {
      for (let channel = 0; channel < channels; channel++) {
        const value = x[from++];
        sums[channel] += value;
        sums[channels + channel] += value * value;
      }
    }
    for (let channel = 0; channel < channels; channel++) {
      mean[channel] = sums[channel] / pixels;
      const variance = sums[channels + channel] / pixels - mean[channel] ** 2;
      perDeviation[channel] = 1 / Math.sqrt(variance + EPSILON);
      const unbiased = (variance * pixels) / (pixels - 1);
      runningMean[channel] += FOLLOWS * (mean[channel] - runningMean[channel]);
      runningVariance[channel] += FOLLOWS * (unbiased - runningVariance[channel]);
    }
  }

  recall() {
    this.mean.set(this.runningMean);
    for (let channel = 0; channel < this.channels; channel++) {
      this.perDeviation[channel] = 1 / Math.sqrt(this.runningVariance[channel] + EPSILON);
    }
  }

  /**
   * Take the dense gradient of y back to that of x, which `to` gets, padded and spread over `stride`.
   * On the way `gradient` becomes that of the sum before the ReLU, which is the shortcut's, too.
   */
  backward(gradient, y, normalised, to, stride, count) {
    this.passReLU(gradient, y, normalised, count);
    const { side, channels, sums, perDeviation } = this;
    const pixels = count * side ** 2;
    const weight = this.weight.value;
    for (let channel = 0; channel < channels; channel++) {
      this.bias.gradient[channel] = sums[channel];
      this.weight.gradient[channel] = sums[channels + channel];
      sums[channel] /= pixels;
      sums[channels + channel] /= pixels;
    }
    let from = 0;
    for (let row = 0; row < count * side; row++) {
      let at = startOfRow(row, side, stride) * channels;
      for (let pixel = 0; pixel < side; pixel++) {
        for (let channel = 0; channel < channels; channel++, from++) {
          const common = sums[channel] + normalised[from] * sums[channels + channel];
          to[at + channel] = weight[channel] * perDeviation[channel] * (gradient[from] - common);
        }
        at += stride * channels;
      }
    }
  }

  /** No gradient where the ReLU put out 0; the sums of the rest, and of the rest times the normalised values. */
  passReLU(gradient, y, normalised, count) {
    const { side, channels, sums } = this;
    sums.fill(0);
    let from = 0;
    for (let row = 0; row < count * side; row++) {
      let at = startOfRow(row, side, 1) * channels;
      for (let pixel = 0; pixel < side; pixel++) {
        for (let channel = 0; channel < channels; channel++, from++) {
          const value = y[at++] > 0 ? gradient[from] : 0;
          gradient[from] = value;
          sums[channel] += value;
          sums[channels + channel] += value * normalised[from];
        }
      }
    }
  }
}

const EPSILON = 1e-5;
const FOLLOWS = 0.1;

/** The first pixel of a row of all images' rows, in a padded array that is `stride` times as wide and high. */
function startOfRow(row, side, stride) {
  const image = Math.floor(row / side);
  const across = side * stride + 2;
  return (image * across + (row % side) * stride + 1) * across + 1;
}
