"use strict";

/** Random numbers that a whole number, the seed, decides: a counter, each value of which is mixed (as in MurmurHash3). */
class Random {
  constructor(seed) {
    this.counter = Random.mix(seed);
    this.spare = null;
  }

  static mix(bits) {
    bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b);
    bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
    return bits ^ (bits >>> 16);
  }

  /** From 0 up to, but without, 1. */
  uniform() {
    this.counter = (this.counter + 0x9e3779b9) | 0;
    return (Random.mix(this.counter) >>> 0) / 2 ** 32;
  }

  /** With mean 0 and variance 1. Two at a time are points of a plane, by angle and distance (Box and Muller 1958). */
  normal() {
    if (this.spare !== null) {
      const value = this.spare;
      this.spare = null;
      return value;
    }
    const distance = Math.sqrt(-2 * Math.log(1 - this.uniform()));
    const angle = 2 * Math.PI * this.uniform();
    this.spare = distance * Math.sin(angle);
    return distance * Math.cos(angle);
  }

  /** In place, every order as likely as every other. */
  shuffle(values) {
    for (let last = values.length - 1; last > 0; last--) {
      const other = Math.floor(this.uniform() * (last + 1));
      const kept = values[last];
      values[last] = values[other];
      values[other] = kept;
    }
  }
}
