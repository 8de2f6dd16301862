"use strict";

/*
 * As much of WebAssembly's binary format as the kernels need (https://webassembly.github.io/spec/core/binary/).
 * Code is a list of bytes and of such lists. A function has four parameters, which are its first locals.
 */

const range = (length) => Array.from({ length }, (_, i) => i);

const I32 = 0x7f;
const V128 = 0x7b;

/** A whole number, seven bits a byte. Where the format wants one without a sign, an idle last byte does no harm. */
function number(value) {
  const byte = value & 0x7f;
  const rest = value >> 7;
  const isLast = rest === (byte & 0x40 ? -1 : 0); // the highest bit of the last byte is the sign
  return isLast ? [byte] : [byte | 0x80, ...number(rest)];
}

const get = (local) => [0x20, local];
const set = (local, value) => [value, 0x21, local];
const constant = (value) => [0x41, number(value)];
const advance = (address, bytes) => set(address, [get(address), constant(bytes), 0x6a]);
const zeros = [0xfd, 0x0c, Array(16).fill(0)];
const load = (address, offset) => [get(address), 0xfd, 0x00, 2, number(offset)];
const load4 = (address, offset) => [get(address), 0xfd, 0x09, 2, number(offset)]; // one float, four times
const store = (address, offset, value) => [get(address), value, 0xfd, 0x0b, 2, number(offset)];
const addProduct = (sum, one, other) => set(sum, [get(sum), one, other, 0xfd, number(0xe6), 0xfd, number(0xe4)]);

/** The body as often as the number says, which is 1 or more. */
const repeat = (counter, times, body) => [
  set(counter, times),
  [0x03, 0x40, body],
  [get(counter), constant(-1), 0x6a, 0x22, counter, 0x0d, 0, 0x0b],
];

/** A module with one function, `run`, on a memory that it gets: so many locals are whole numbers, then vectors. */
function assemble(numbers, vectors, code) {
  const name = (text) => [text.length, [...text].map((letter) => letter.charCodeAt(0))];
  const withLength = (...content) => {
    const bytes = content.flat(Infinity);
    return [number(bytes.length), bytes];
  };
  const sections = [
    [1, 1, 0x60, 4, I32, I32, I32, I32, 0], // four whole numbers to nothing
    [2, 1, name("page"), name("memory"), 2, 0, 1],
    [3, 1, 0],
    [7, 1, name("run"), 0, 0],
    [10, 1, withLength(2, numbers, I32, vectors, V128, code, 0x0b)],
  ];
  const bytes = sections.map(([id, ...content]) => [id, withLength(content)]);
  return Uint8Array.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, bytes].flat(Infinity));
}
