"use strict";

/*
 * The two loops that take nearly all of the time, in WebAssembly: it computes four channels at once, which JavaScript
 * can't. Each is written out for the sizes of one convolution, so that they are constants in its code.
 *
 * A weight stands at [output channel / 4][input channel][pixel of the kernel][output channel mod 4].
 */

const FLOAT = 4; // bytes
const VECTOR = 4 * FLOAT;
const PIXELS = range(9).map((pixel) => [Math.floor(pixel / 3), pixel % 3]);

/** x, weight, y, number of images: a 3×3 convolution of padded x to dense y, of which each side is `side` long. */
function convolution(side, stride, inputs, outputs) {
  const [x, weight, y, images, ofFour, ofImage, ofRow, ofPixel, ofInput, corner, to, from, w, value, ...sums] = range(18);
  const across = side * stride + 2;
  const inX = (i, j) => (i * across + j) * inputs * FLOAT;
  const inY = (i, j) => (i * side + j) * outputs * FLOAT;
  const square = range(4).map((pixel) => [pixel >> 1, pixel & 1]); // of y, whose pixels share what is read of weights
  const products = PIXELS.map(([i, j], pixel) => [
    set(value, load(w, pixel * VECTOR)),
    square.map(([k, l], n) => addProduct(sums[n], load4(from, inX(k * stride + i, l * stride + j)), get(value))),
  ]);
  const pixels = [
    sums.map((sum) => set(sum, zeros)),
    [set(from, get(corner)), set(w, get(weight))],
    repeat(ofInput, constant(inputs), [products, advance(from, FLOAT), advance(w, 9 * VECTOR)]),
    square.map(([k, l], n) => store(to, inY(k, l), get(sums[n]))),
    [advance(corner, inX(0, 2 * stride)), advance(to, inY(0, 2))],
  ];
  const rows = [
    repeat(ofPixel, constant(side / 2), pixels),
    [advance(corner, inX(2 * stride, -side * stride)), advance(to, inY(1, 0))],
  ];
  const image = [repeat(ofRow, constant(side / 2), rows), advance(corner, inX(2, 0))];
  const four = [
    [set(corner, get(x)), set(to, get(y))],
    repeat(ofImage, get(images), image),
    [advance(weight, inputs * 9 * VECTOR), advance(y, VECTOR)],
  ];
  return assemble(9, 5, repeat(ofFour, constant(outputs / 4), four));
}

/** x, d, gradient, number of images: that of the weights, where d, that of y, lies spread over the pixels of x. */
function weightGradient(side, stride, inputs, outputs) {
  const [x, d, gradient, images, ofFour, ofInput, ofImage, ofRow, ofPixel, from, at, value, ...sums] = range(21);
  const across = side * stride + 2;
  const inX = (i, j) => (i * across + j) * inputs * FLOAT;
  const inD = (i, j) => (i * across + j) * outputs * FLOAT;
  const pixel = [
    set(value, load(at, inD(1, 1))),
    PIXELS.map(([i, j], n) => addProduct(sums[n], load4(from, inX(i, j)), get(value))),
    [advance(from, inX(0, stride)), advance(at, inD(0, stride))],
  ];
  const row = [
    repeat(ofPixel, constant(side), pixel),
    [advance(from, inX(stride, -side * stride)), advance(at, inD(stride, -side * stride))],
  ];
  const image = [repeat(ofRow, constant(side), row), advance(from, inX(2, 0)), advance(at, inD(2, 0))];
  const input = [
    sums.map((sum) => set(sum, zeros)),
    [set(from, get(x)), set(at, get(d))],
    repeat(ofImage, get(images), image),
    sums.map((sum, n) => store(gradient, n * VECTOR, get(sum))),
    [advance(x, FLOAT), advance(gradient, 9 * VECTOR)],
  ];
  const four = [repeat(ofInput, constant(inputs), input), advance(x, -inputs * FLOAT), advance(d, VECTOR)];
  return assemble(7, 10, repeat(ofFour, constant(outputs / 4), four));
}

/** What WebAssembly and JavaScript both see. Arrays are made once, and the loops above compute on them. */
class Memory {
  constructor() {
    this.memory = new WebAssembly.Memory({ initial: 256 }); // of 64 KiB, more than 44 layers need
    this.used = 0;
    this.compiled = new Map();
  }

  floats(length) {
    const array = new Float32Array(this.memory.buffer, this.used, length);
    this.used += Math.ceil(length / 4) * VECTOR;
    return array;
  }

  /** `convolution` or `weightGradient` for these sizes, to be called with addresses: an array's `byteOffset`. */
  compile(write, ...sizes) {
    const name = `${write.name} ${sizes}`;
    if (!this.compiled.has(name)) {
      const module = new WebAssembly.Module(write(...sizes));
      this.compiled.set(name, new WebAssembly.Instance(module, { page: { memory: this.memory } }).exports.run);
    }
    return this.compiled.get(name);
  }
}
