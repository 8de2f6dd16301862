/* Lesion explorer: blocks of two trained networks off and on, and the recorded error of exactly that subset. */
explorers.run("lesions", (data, change) => {
  "use strict";
  const { axes, canvas, check, draw, inputs, make, options, select, text } = explorers;
  const kinds = Object.keys(data.networks);
  const name = (kind) => `${kind}-${data.depth}`;
  const percent = (error) => `${error.toFixed(1)} %`;
  const stageOf = (block) => block.split(".")[0];
  const LIMIT = 10; // per cent
  const short = (block) => block.replace("layer", "");
  let state;

  const bits = (mask) => mask.toString(2).replaceAll("0", "").length;
  const bitOf = (kind, block) => {
    const place = data.networks[kind].removable.indexOf(block);
    return place < 0 ? 0 : 1 << place;
  };
  /** What both networks can do without: nothing else is compared when they are switched together. */
  const inBoth = data.blocks.filter((block) => kinds.every((kind) => bitOf(kind, block)));
  const maskOf = (kind, blocks) => blocks.reduce((mask, block) => mask | bitOf(kind, block), 0);
  const flip = (kind, block, off) => {
    const mask = Number(state[kind]);
    return `${off ? mask | bitOf(kind, block) : mask & ~bitOf(kind, block)}`;
  };

  // --- Choices

  const form = make(
    "form",
    { class: "explorer-controls", onsubmit: (event) => event.preventDefault() },
    select("Networks trained with seed", "seed", []),
    make(
      "div",
      { class: "explorer-choice explorer-inline" },
      ...inputs("checkbox", "together", [["1", "Switch both together"]]),
      make("button", { type: "button", onclick: () => change({ plain: "0", residual: "0" }) }, "All blocks on"),
    ),
  );
  const { seed: seedField, together: togetherField } = form.elements;
  seedField.append(...options(data.seeds.map((seed) => [seed, seed])));
  seedField.addEventListener("change", () => change({ seed: seedField.value }));
  togetherField.addEventListener("change", () => change({ together: togetherField.checked ? "1" : "0" }));

  function toggled(kind, block, off) {
    const switched = state.together === "1" ? kinds : [kind];
    change(Object.fromEntries(switched.map((one) => [one, flip(one, block, off)])));
  }

  function correct({ seed, together, ...masks }) {
    const valid = (kind) => {
      const mask = Number(masks[kind]);
      return Number.isInteger(mask) && mask >= 0 && mask < 2 ** data.networks[kind].removable.length;
    };
    const isTogether = together !== "0";
    const allowed = (kind) => (isTogether ? maskOf(kind, inBoth) : -1);
    return {
      seed: data.seeds.includes(seed) ? seed : data.start.seed,
      together: isTogether ? "1" : "0",
      ...Object.fromEntries(kinds.map((kind) => [kind, valid(kind) ? `${masks[kind] & allowed(kind)}` : "0"])),
    };
  }

  // --- A network: its blocks in a row, the error as a number and as a bar, and some test digits

  /** A test digit, bright on dark. */
  function digit(pixels) {
    const picture = make("canvas", { width: 8, height: 8 });
    const context = picture.getContext("2d");
    const image = context.createImageData(8, 8);
    [...pixels].forEach((one, i) => image.data.set([255, 255, 255, (parseInt(one, 17) / 16) * 255], 4 * i));
    context.putImageData(image, 0, 0);
    return picture;
  }

  function panel(kind) {
    const switches = data.blocks.map((block) => {
      const fixed = bitOf(kind, block) === 0;
      const input = make("input", { type: "checkbox", name: kind, value: block, disabled: fixed, autocomplete: "off" });
      input.setAttribute("aria-label", `${name(kind)}, block ${block}${fixed ? ", can't be removed" : ""}`);
      input.addEventListener("change", () => toggled(kind, block, !input.checked));
      return input;
    });
    const stages = [...new Set(data.blocks.map(stageOf))].map((stage, place) => {
      const boxes = switches.filter((input) => stageOf(input.value) === stage);
      const labels = boxes.map((input) => make("label", {}, input, make("span", {}, short(input.value))));
      const name = make("p", {}, `stage ${place + 1}`);
      return make("div", { class: "stage" }, name, make("div", { class: "chain" }, ...labels));
    });
    const value = make("strong");
    const among = make("span");
    const bar = make("i");
    const meter = make("div", { class: "bar", "aria-hidden": "true" }, bar);
    const error = make("p", {}, value, " test error");
    const challenge = make("span");
    const reveal = make("button", { type: "button", onclick: showBest }, "Show it");
    const result = make("div", { class: "result", role: "status" }, error, meter, make("p", {}, among));
    const contest = make("p", { class: "contest" }, challenge, " ", reveal);

    /** The mask with most blocks off below the limit, and of those the one with the lowest error. */
    function best() {
      const errors = data.networks[kind].errors[state.seed];
      const masks = [...errors.keys()].filter((mask) => errors[mask] < LIMIT);
      return masks.sort((a, b) => bits(b) - bits(a) || errors[a] - errors[b])[0] ?? 0;
    }

    /** The button goes away then, so the keyboard's place is the first switch. */
    function showBest() {
      change({ together: "0", [kind]: `${best()}` });
      switches.find((input) => !input.disabled).focus({ preventScroll: true });
    }

    const digits = data.digits.map(digit);
    const missed = make("p", { class: "explorer-caption" });
    const legend = make("legend", {}, name(kind));
    const box = make(
      "fieldset",
      { class: "explorer-network", "data-kind": kind },
      legend,
      make("div", { class: "stages" }, ...stages),
      result,
      make("div", { class: "explorer-digits", "aria-hidden": "true" }, ...digits),
      missed,
      contest,
    );

    function show() {
      const mask = Number(state[kind]);
      const { errors, wrong, byCount } = data.networks[kind];
      const error = errors[state.seed][mask];
      const isWrong = (place) => Math.floor(wrong[state.seed][mask] / 2 ** place) % 2 === 1; // more than 32 bits
      digits.forEach((one, place) => one.classList.toggle("wrong", isWrong(place)));
      missed.textContent = `${digits.filter((one, place) => isWrong(place)).length} of these ${digits.length} test digits go wrong.`;
      const off = bits(mask);
      const [ways, lowest, mean, highest] = byCount[state.seed][off];
      check(box, kind, data.blocks.filter((block) => !(mask & bitOf(kind, block))));
      value.textContent = percent(error);
      const others = `${percent(lowest)} to ${percent(highest)}, mean ${percent(mean)}`;
      const blocks = off === 1 ? "1 block" : `${off} blocks`;
      const beside = ways > 1 ? `; the ${ways} ways to switch off ${blocks}: ${others}` : ", all that can be off";
      among.textContent = off === 0 ? "with all blocks on" : `without ${blocks}${beside}`;
      bar.style.width = `${error}%`;
      for (const input of switches) {
        input.disabled = !bitOf(kind, input.value) || (state.together === "1" && !inBoth.includes(input.value));
      }
      const most = bits(best());
      const yours = error < LIMIT ? `You have ${off} off` : "You are above it";
      const record = `the best of all ${errors[state.seed].length} ways has ${most}`;
      const question = `How many blocks can be off below ${LIMIT} % error? ${yours}; ${record}.`;
      challenge.textContent = most === 0 ? `Below ${LIMIT} % error no block can be off.` : question;
      reveal.hidden = most === 0 || mask === best();
    }
    return { box, show };
  }

  // --- All subsets at once

  const drawing = canvas();
  const key = make(
    "p",
    { class: "explorer-caption" },
    "Each dot is one subset of blocks; the line is the mean, and the ring is the subset above. Chance is 90 %.",
  );

  function chart(width) {
    const height = 300;
    const most = data.blocks.length;
    const ticks = [...Array(most + 1).keys()];
    const names = { label: "blocks off", error: "test error" };
    const { x, y, frame } = axes({ width, height, right: 0, top: 100, ticks, around: 0.5, ...names });
    const step = (x(1) - x(0)) * 0.22;
    // A dot keeps its place beside the others: the golden ratio spreads the masks evenly.
    const spread = (mask) => ((mask * 0.618034 + 0.5) % 1) - 0.5;
    const side = { plain: -step, residual: step };
    const content = [];
    const rings = [];
    for (const kind of kinds) {
      const { errors, byCount } = data.networks[kind];
      const at = (mask) => x(bits(mask)) + side[kind] + spread(mask) * step * 1.6;
      const dots = errors[state.seed].map((error, mask) => draw("circle", { cx: at(mask), cy: y(error), r: 2.2 }));
      const means = byCount[state.seed].map(([, , mean], off) => `${x(off) + side[kind]},${y(mean)}`);
      const mask = Number(state[kind]);
      const here = { cx: at(mask), cy: y(errors[state.seed][mask]) };
      content.push(
        draw("g", { class: `dots ${kind}` }, ...dots),
        draw("polyline", { points: means.join(" "), class: `mean ${kind}` }),
      );
      rings.push(draw("circle", { ...here, r: 7, class: `ring ${kind}` }));
    }
    const legend = [
      text(width - 8, y(8), name("plain"), { "text-anchor": "end", class: "name plain" }),
      text(width - 8, y(2), name("residual"), { "text-anchor": "end", class: "name residual" }),
    ];
    const spoken = "Test error in percent of every subset of blocks, by the number of blocks that are off.";
    const attributes = { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": spoken };
    return draw("svg", attributes, frame, ...content, ...rings, ...legend);
  }

  const panels = kinds.map(panel);

  function show(shown) {
    state = shown;
    seedField.value = state.seed;
    togetherField.checked = state.together === "1";
    for (const one of panels) one.show();
    drawing.show(chart);
  }

  const networks = make("div", { class: "explorer-pair" }, ...panels.map((one) => one.box));
  return { parts: [form, networks, drawing.box, key], correct, show };
});
