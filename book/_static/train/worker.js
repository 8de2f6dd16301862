"use strict";

let training = null;

/** The page asks: first for a new network and the error that it starts with, then for one epoch after the other. */
onmessage = ({ data }) => {
  if (data === "epoch") training.trainEpoch();
  else training = new Training(data);
  postMessage(training.measureError());
};
