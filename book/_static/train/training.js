"use strict";

/** PyTorch's OneCycleLR: half a wave up over three tenths of the steps, and half a wave down to almost nothing. */
function oneCycle(step, steps, highest) {
  const wave = (from, to, share) => to + ((from - to) / 2) * (1 + Math.cos(Math.PI * share));
  const peak = 0.3 * steps - 1;
  if (step <= peak) return wave(highest / 25, highest, step / peak);
  return wave(highest, highest / 25 / 1e4, (step - peak) / (steps - 1 - peak));
}

/** A step of stochastic gradient descent with momentum and weight decay. */
function descend(parameters, rate, recipe) {
  for (const { value, gradient, momentum } of parameters) {
    for (let i = 0; i < value.length; i++) {
      momentum[i] = recipe.momentum * momentum[i] + gradient[i] + recipe.weight_decay * value[i];
      value[i] -= rate * momentum[i];
    }
  }
}

/** A network in training, by a recipe of the library. The images are normalised; the seed decides weights and orders. */
class Training {
  constructor({ recipe, depth, residual, seed, images, labels, side }) {
    const batch = recipe.batch_size;
    const random = new Random(seed);
    this.network = new Network({ depth, residual, images: batch, side, width: recipe.width, random });
    this.parameters = this.network.parameters;
    Object.assign(this, { recipe, batch, random, images, labels, side });
    this.order = Uint16Array.from(labels, (_, place) => place);
    this.ownLabels = new Uint8Array(batch); // of the images that are in the network
    this.steps = recipe.epochs * Math.ceil(labels.length / batch);
    this.step = 0;
  }

  /** Put a batch into the network, the images from the place `first` in the order on, and return how many they are. */
  load(first) {
    const { side, images, labels, network, order } = this;
    const count = Math.min(this.batch, order.length - first);
    for (let image = 0; image < count; image++) {
      let from = order[first + image] * side * side;
      this.ownLabels[image] = labels[order[first + image]];
      for (let row = 0; row < side; row++) {
        let to = startOfRow(image * side + row, side, 1);
        for (let pixel = 0; pixel < side; pixel++) network.input[to++] = images[from++];
      }
    }
    return count;
  }

  /** One pass over the images, in a new order. */
  trainEpoch() {
    this.random.shuffle(this.order);
    for (let first = 0; first < this.order.length; first += this.batch) this.trainBatch(first);
  }

  /** A step of the optimizer; returns the loss before it. */
  trainBatch(first) {
    const count = this.load(first);
    this.network.forward(count, true);
    const loss = this.network.backward(this.ownLabels, count);
    descend(this.parameters, oneCycle(this.step++, this.steps, this.recipe.lr), this.recipe);
    return loss;
  }

  /** The error over all images in percent, in evaluation mode. */
  measureError() {
    let wrong = 0;
    for (let first = 0; first < this.order.length; first += this.batch) {
      const count = this.load(first);
      this.network.forward(count, false);
      wrong += this.network.countErrors(this.ownLabels, count);
    }
    return (100 * wrong) / this.order.length;
  }
}
