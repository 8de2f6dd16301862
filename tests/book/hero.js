// Runs the networks of the page in Node: one task comes in as JSON, and what came of it goes out.
const fs = require("fs");
const path = require("path");
const vm = require("vm");

const folder = path.join(__dirname, "..", "..", "book", "_static", "train");
for (const part of ["random", "assembler", "kernels", "layers", "network", "training"]) {
  vm.runInThisContext(fs.readFileSync(path.join(folder, `${part}.js`), "utf8"), { filename: `${part}.js` });
}
const [Training, oneCycle] = vm.runInThisContext("[Training, oneCycle]");

const lists = (arrays) => arrays.map((array) => Array.from(array));
const create = (options) => new Training({ ...options, images: Float32Array.from(options.images) });

const tasks = {
  rates: ({ steps, recipe }) => Array.from({ length: steps }, (_, step) => oneCycle(step, steps, recipe.lr)),

  /** From the weights that are given: logits and gradients of the first batch, then a step for each batch. */
  follow({ parameters, order, ...options }) {
    const training = create(options);
    training.parameters.forEach(({ value }, i) => value.set(parameters[i]));
    training.order = Uint16Array.from(order);
    const losses = [training.trainBatch(0)];
    const logits = Array.from(training.network.logits);
    const gradients = lists(training.parameters.map(({ gradient }) => gradient));
    const { batch } = training;
    for (let first = batch; first < order.length; first += batch) losses.push(training.trainBatch(first));
    const after = lists(training.parameters.map(({ value }) => value));
    const running = training.network.norms.flatMap((norm) => lists([norm.runningMean, norm.runningVariance]));
    return { logits, gradients, losses, after, running, error: training.measureError() };
  },

  start: (options) => lists(create(options).parameters.map(({ value }) => value)),

  errors({ seeds, ...options }) {
    return seeds.map((seed) => {
      const training = create({ ...options, seed });
      for (let epoch = 0; epoch < options.recipe.epochs; epoch++) training.trainEpoch();
      return training.measureError();
    });
  },

  /** Images per second over so many epochs. */
  speed({ epochs, ...options }) {
    const training = create(options);
    const start = performance.now();
    for (let epoch = 0; epoch < epochs; epoch++) training.trainEpoch();
    return (1000 * epochs * options.labels.length) / (performance.now() - start);
  },
};

const { task, ...options } = JSON.parse(fs.readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(tasks[task](options)));
