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
  const waysOf = (way) => data.ways[state.depth][state.seed][state.moment][way].toReversed();
  const drawing = canvas();
  const waysDrawing = canvas();

  function showGuess() {
    guessed.textContent = `${power(Number(guess.value))} times`;
    guess.setAttribute("aria-valuetext", guessed.textContent);
  }
  const status = make("p", { role: "status" });

  const layersChart = (width) =>
    chart(width, "norm of the layer's gradient", "one layer after the other", kinds.map((kind) => [kind, normsOf(kind), kind]));

  const waysChart = (width) =>
    chart(width, `residual-${state.depth}: norm of the gradient that a block hands back`, "one block after the other", [
      ["shortcut", waysOf("shortcut"), "residual"],
      ["branch", waysOf("branch"), "residual by-branch"],
    ]);

  // Each line has a name, its norms from the loss to the image, and a class.
  function chart(width, title, along, lines) {
    const height = 300;
    const [left, above, right, bottom] = [44, 28, width - 84, height - 40];
    const logs = lines.flatMap(([, norms]) => norms.filter((norm) => norm > 0).map(Math.log10));
    const [low, high] = [Math.floor(Math.min(...logs)), Math.ceil(Math.max(...logs))];
    const last = lines[0][1].length - 1;
    const x = (place) => left + (place / last) * (right - left);
    const y = (norm) => bottom - ((norm > 0 ? Math.log10(norm) : low) - low) / Math.max(1, high - low) * (bottom - above);
    const step = Math.max(1, Math.ceil((high - low) / 6));
    const grid = [];
    for (let exponent = low; exponent <= high; exponent += step) {
      const place = y(10 ** exponent);
      grid.push(draw("line", { x1: left, x2: right, y1: place, y2: place, class: "grid" }));
      grid.push(text(left - 6, place + 4, power(exponent), { "text-anchor": "end" }));
    }
    const names = [
      text(0, 12, title),
      text(left, bottom + 17, "loss"),
      text(right, bottom + 17, "image", { "text-anchor": "end" }),
      text((left + right) / 2, height - 4, along, { "text-anchor": "middle" }),
    ];
    const shown = seen * last;
    const parts = lines.flatMap(([name, norms, kind]) => {
      const points = norms.flatMap((norm, place) => (place <= shown ? [`${x(place)},${y(norm)}`] : []));
      const at = Math.floor(shown);
      return [
        draw("polyline", { points: points.join(" "), class: `curve ${kind}`, "stroke-width": 2 }),
        draw("circle", { cx: x(at), cy: y(norms[at]), r: 5, class: `ring ${kind}` }),
        text(right + 10, y(norms.at(-1)) + 4, name, { class: `name ${kind}`, opacity: seen === 1 ? 1 : 0 }),
      ];
    });
    const attributes = { width, height, viewBox: `0 0 ${width} ${height}`, role: "img" };
    const spoken = `${title}, from the loss to the image, on a logarithmic scale.`;
    return draw("svg", { ...attributes, "aria-label": spoken }, draw("g", { class: "axes" }, ...grid, ...names), ...parts);
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
    for (const one of [drawing, waysDrawing]) one.box.hidden = state.played === "0";
    drawing.show(layersChart);
    waysDrawing.show(waysChart);
    if (state.played === "0") status.textContent = "Make a guess, then press Play.";
    else if (seen < 1) status.textContent = "From the loss to the image …";
    else {
      const [plain, residual] = kinds.map((kind) => times(normsOf(kind).at(-1) / normsOf(kind)[0]));
      const when = data.moments[state.moment];
      const sizes = `${plain} that at the loss in plain-${state.depth}, and ${residual} in residual-${state.depth}`;
      const answer = `${when[0].toUpperCase()}${when.slice(1)}, the gradient at the image is ${sizes}.`;
      const [around, through] = ["shortcut", "branch"].map(waysOf);
      const more = around.filter((norm, block) => norm > through[block]).length;
      const ways = `In ${more} of ${around.length} residual blocks the shortcut hands back more than the branch.`;
      status.textContent = `${answer} You guessed ${guessed.textContent} for the plain one. ${ways}`;
    }
  }

  return { parts: [form, drawing.box, waysDrawing.box, status], correct, show };
});
