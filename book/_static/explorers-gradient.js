/* Gradient explorer: guess, play, and follow the recorded norm of each layer's gradient from the loss to the image. */
explorers.run("gradient", (data, change) => {
  "use strict";
  const { canvas, draw, make, options, select, text } = explorers;
  const kinds = ["plain", "residual"];
  const SECONDS = 2.5;
  const MOST = 6; // powers of ten that can be guessed, both ways
  let state;
  let seen = 1; // the share of the way that the pulse has gone

  // --- Choices

  const guess = make("input", { type: "range", name: "guess", min: -MOST, max: MOST, step: 1 });
  const guessed = make("output", { class: "explorer-guess" });
  const form = make(
    "form",
    { class: "explorer-controls", onsubmit: (event) => event.preventDefault() },
    select("Networks", "depth", Object.keys(data.norms).map((depth) => [depth, `${depth} layers`])),
    select("When", "moment", Object.entries(data.moments)),
    select("Seed", "seed", []),
    make(
      "label",
      { class: "explorer-choice" },
      make("span", {}, "Your guess: the plain network’s gradient at the image, against that at the loss"),
      guess,
      guessed,
    ),
    make("button", { type: "button", onclick: play }, "Play"),
  );
  form.addEventListener("change", ({ target }) => change({ [target.name]: target.value }));
  guess.addEventListener("input", showGuess);
  const { depth: depthField, moment: momentField, seed: seedField } = form.elements;

  const seedsOf = (depth) => Object.keys(data.norms[depth].plain);

  function correct({ depth, moment, seed, guess, played }) {
    if (!Object.hasOwn(data.norms, depth)) depth = data.start.depth;
    if (!Object.hasOwn(data.moments, moment)) moment = data.start.moment;
    if (!seedsOf(depth).includes(seed)) seed = data.start.seed;
    const whole = Number.isInteger(Number(guess)) ? Number(guess) : 0;
    return { depth, moment, seed, guess: `${Math.max(-MOST, Math.min(MOST, whole))}`, played: played === "1" ? "1" : "0" };
  }

  // --- The drawing: from the loss on the left to the image on the right

  const superscripts = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };
  const power = (exponent) => (exponent === 0 ? "1" : `10${[...`${exponent}`].map((one) => superscripts[one]).join("")}`);
  const normsOf = (kind) => data.norms[state.depth][kind][state.seed][state.moment].toReversed();
  const drawing = canvas();

  function showGuess() {
    guessed.textContent = `${power(Number(guess.value))} times`;
    guess.setAttribute("aria-valuetext", guessed.textContent);
  }
  const status = make("p", { role: "status" });

  function chart(width) {
    const height = 300;
    const [left, above, right, bottom] = [44, 28, width - 84, height - 40];
    const lines = Object.fromEntries(kinds.map((kind) => [kind, normsOf(kind)]));
    const logs = kinds.flatMap((kind) => lines[kind].filter((norm) => norm > 0).map(Math.log10));
    const [low, high] = [Math.floor(Math.min(...logs)), Math.ceil(Math.max(...logs))];
    const layers = lines.plain.length;
    const x = (layer) => left + (layer / (layers - 1)) * (right - left);
    const y = (norm) => bottom - ((norm > 0 ? Math.log10(norm) : low) - low) / Math.max(1, high - low) * (bottom - above);
    const step = Math.max(1, Math.ceil((high - low) / 6));
    const grid = [];
    for (let exponent = low; exponent <= high; exponent += step) {
      const place = y(10 ** exponent);
      grid.push(draw("line", { x1: left, x2: right, y1: place, y2: place, class: "grid" }));
      grid.push(text(left - 6, place + 4, power(exponent), { "text-anchor": "end" }));
    }
    const names = [
      text(0, 12, "norm of the layer's gradient"),
      text(left, bottom + 17, "loss"),
      text(right, bottom + 17, "image", { "text-anchor": "end" }),
      text((left + right) / 2, height - 4, "one layer after the other", { "text-anchor": "middle" }),
    ];
    const shown = seen * (layers - 1);
    const parts = kinds.flatMap((kind) => {
      const points = lines[kind].flatMap((norm, layer) => (layer <= shown ? [`${x(layer)},${y(norm)}`] : []));
      const at = lines[kind][Math.floor(shown)];
      return [
        draw("polyline", { points: points.join(" "), class: `curve ${kind}`, "stroke-width": 2 }),
        draw("circle", { cx: x(Math.floor(shown)), cy: y(at), r: 5, class: `ring ${kind}` }),
        text(right + 10, y(lines[kind].at(-1)) + 4, kind, { class: `name ${kind}`, opacity: seen === 1 ? 1 : 0 }),
      ];
    });
    const spoken = "The norm of each layer's gradient from the loss to the image, on a logarithmic scale.";
    const attributes = { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": spoken };
    return draw("svg", attributes, draw("g", { class: "axes" }, ...grid, ...names), ...parts);
  }

  function play() {
    const isCalm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    seen = isCalm ? 1 : 0;
    change({ guess: guess.value, played: "1" });
    if (isCalm) return;
    const start = performance.now();
    const frame = (now) => {
      seen = Math.min(1, (now - start) / (1000 * SECONDS));
      show(state);
      if (seen < 1) requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  }

  const short = new Intl.NumberFormat("en-US", { maximumSignificantDigits: 2 });
  const times = (value) => `${value < 0.1 ? `1/${short.format(1 / value)}` : short.format(value)} times`;

  function show(shown) {
    state = shown;
    depthField.value = state.depth;
    momentField.value = state.moment;
    seedField.replaceChildren(...options(seedsOf(state.depth).map((seed) => [seed, seed])));
    seedField.value = state.seed;
    guess.value = state.guess;
    showGuess();
    drawing.box.hidden = state.played === "0";
    drawing.show(chart);
    if (state.played === "0") status.textContent = "Make a guess, then press Play.";
    else if (seen < 1) status.textContent = "From the loss to the image …";
    else {
      const [plain, residual] = kinds.map((kind) => times(normsOf(kind).at(-1) / normsOf(kind)[0]));
      const when = data.moments[state.moment];
      const sizes = `${plain} that at the loss in plain-${state.depth}, and ${residual} in residual-${state.depth}`;
      const answer = `${when[0].toUpperCase()}${when.slice(1)}, the gradient at the image is ${sizes}.`;
      status.textContent = `${answer} You guessed ${guessed.textContent} for the plain one.`;
    }
  }

  return { parts: [form, drawing.box, status], correct, show };
});
