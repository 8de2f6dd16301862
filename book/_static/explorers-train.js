/* Train both: a plain and a residual network in two workers, and their training errors as curves that race. */
(() => {
  "use strict";
  const { axes, canvas, draw, make, text } = explorers;
  const kinds = ["plain", "residual"];
  const box = document.querySelector('.explorer[data-explorer="train"]');
  const data = JSON.parse(box.querySelector("script").textContent);
  const asked = new URLSearchParams(location.search);
  const plusX = () => make("code", {}, "+\u00a0x");
  const percent = (error) => `${error.toFixed(1)}\u00a0%`;
  const last = (values) => values[values.length - 1];
  const calm = matchMedia("(prefers-reduced-motion: reduce)");

  const finished = [];
  let run = null; // the one that trains, or has trained last
  let guess = null;
  let workers = null;

  // --- The page

  const slider = (label, name, attributes, unit) => {
    const input = make("input", { type: "range", name, autocomplete: "off", ...attributes });
    const value = make("b", { "aria-hidden": "true" });
    const field = make("label", { class: "explorer-choice" }, make("span", {}, label, " ", value), input);
    const show = (content) => {
      value.textContent = content;
      input.setAttribute("aria-valuetext", `${content} ${unit}`);
    };
    return { field, input, show };
  };

  const [shallowest, deepest] = [data.depths[0], last(data.depths)];
  const layers = slider("Layers", "depth", { min: shallowest, max: deepest, step: 6, value: data.start }, "layers");
  const guessed = slider("Guess plain’s error", "guess", { min: 0, max: 90, value: 45 }, "");
  const button = make("button", { type: "submit", class: "train-go" });
  const form = make("form", { class: "explorer-controls train-controls" }, layers.field, guessed.field, button);
  const drawing = canvas();
  const numbers = Object.fromEntries([...kinds, "time"].map((name) => [name, make("dd", { class: name })]));
  const names = { plain: "Plain", residual: "Residual", time: "Time" };
  const results = make(
    "dl",
    { class: "explorer-numbers train-numbers" },
    ...Object.entries(numbers).map(([name, value]) => make("div", {}, make("dt", {}, names[name]), value)),
  );
  const status = make("p", { class: "train-status", role: "status" });
  const table = make("table", { class: "train-table", hidden: true });
  const about = make("p", { class: "explorer-caption" }, `Training error, in evaluation mode: ${data.about}. `);
  const depth = () => Number(layers.input.value);

  // --- Training. A worker does one epoch whenever it is asked, so a hidden tab, which asks for none, pauses.

  function makeWorkers() {
    const code = URL.createObjectURL(new Blob([trainEngine.code], { type: "text/javascript" }));
    const made = kinds.map((kind) => {
      const worker = new Worker(code);
      worker.onmessage = (message) => receive(kind, message.data);
      worker.onerror = (event) => {
        event.preventDefault(); // it is said below
        if (workers) stop();
        status.textContent = "This browser can't train here: it lacks WebAssembly's SIMD, which newer ones have.";
      };
      return worker;
    });
    return Object.fromEntries(kinds.map((kind, i) => [kind, made[i]]));
  }

  const labels = Array.from(trainEngine.labels, Number);
  const ink = (letter) => (letter.charCodeAt(0) - "a".charCodeAt(0) - trainEngine.mean) / trainEngine.std;
  const images = Float32Array.from(trainEngine.pixels, ink);

  const clock = { spent: 0, since: null };
  const seconds = () => (clock.spent + (clock.since === null ? 0 : performance.now() - clock.since)) / 1000;

  function start() {
    const seed = asked.has("seed") ? Number(asked.get("seed")) : 1 + Math.floor(Math.random() * 9999);
    asked.delete("seed"); // which is for the first run alone: the next one shows how much was chance
    run = { depth: depth(), seed, guess, isOver: false, waiting: [], plain: [], residual: [] };
    Object.assign(clock, { spent: 0, since: document.hidden ? null : performance.now() });
    workers ??= makeWorkers();
    const { recipe, side } = trainEngine;
    for (const kind of kinds) {
      workers[kind].postMessage({ recipe, side, images, labels, depth: run.depth, seed, residual: kind === "residual" });
    }
    tick();
    status.textContent = `Training two networks of ${run.depth} layers.`;
    show();
  }

  function receive(kind, error) {
    run[kind].push(error);
    if (run[kind].length <= data.epochs) askForMore(kind);
    else if (kinds.every((one) => run[one].length > data.epochs)) finish();
    show();
  }

  function askForMore(kind) {
    if (document.hidden) run.waiting.push(kind);
    else workers[kind].postMessage("epoch");
  }

  document.addEventListener("visibilitychange", () => {
    if (!run || run.isOver) return;
    clock.spent = 1000 * seconds();
    clock.since = document.hidden ? null : performance.now();
    if (!document.hidden) run.waiting.splice(0).forEach(askForMore);
  });

  function halt() {
    clock.spent = 1000 * seconds();
    clock.since = null;
    run.isOver = true;
  }

  function stop() {
    for (const kind of kinds) workers[kind].terminate();
    workers = null;
    halt();
    status.textContent = "Stopped.";
    show();
  }

  function finish() {
    halt();
    finished.push(run);
    status.replaceChildren(...inWords(run));
    showTable();
  }

  function tick() {
    numbers.time.textContent = `${seconds().toFixed(1)} s`;
    if (!run.isOver) requestAnimationFrame(tick);
  }

  // --- What came out, in words and in a table

  function inWords({ depth, seed, guess, plain, residual }) {
    const [ofPlain, ofResidual] = [last(plain), last(residual)];
    const words = [`${depth} layers: plain ${percent(ofPlain)}, residual ${percent(ofResidual)}. `];
    if (guess !== null) {
      const off = Math.round(Math.abs(ofPlain - guess));
      const side = ofPlain > guess ? "higher" : "lower";
      words.push(off <= 5 ? `You guessed ${guess} %: close! ` : `You guessed ${guess} %; it is ${off} points ${side}. `);
    }
    if (ofPlain - ofResidual > 10) words.push("Same layers, same start, same images, and only ", plusX(), " between them. ");
    else words.push("So few layers train well without ", plusX(), ", too. Try more. ");
    const address = new URL(location.href);
    address.search = `depth=${depth}&seed=${seed}`;
    address.hash = "train";
    const link = make("a", { href: address, onclick: copy }, `Link to this run (seed ${seed})`);
    return [...words, link];
  }

  /** Where the browser allows it; elsewhere the link is one like any other. */
  function copy(event) {
    if (!navigator.clipboard) return;
    event.preventDefault();
    const { target } = event;
    navigator.clipboard.writeText(target.href).then(
      () => (target.textContent = "Link copied"),
      () => (location.href = target.href),
    );
  }

  /** Mean, and from three runs on the standard deviation. */
  function summary(values) {
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    if (values.length < 3) return percent(mean);
    const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
    return `${mean.toFixed(1)} ± ${percent(Math.sqrt(squares / (values.length - 1)))}`;
  }

  function showTable() {
    const rows = data.depths
      .map((depth) => finished.filter((one) => one.depth === depth))
      .filter((runs) => runs.length)
      .map((runs) => {
        const cells = kinds.map((kind) => make("td", { class: kind }, summary(runs.map((one) => last(one[kind])))));
        return make("tr", {}, make("th", { scope: "row" }, `${runs[0].depth}`), make("td", {}, `${runs.length}`), ...cells);
      });
    const head = ["Layers", "Runs", "Plain", "Residual"].map((name) => make("th", { scope: "col" }, name));
    const caption = make("caption", {}, "Your runs: mean training error, and its standard deviation from three runs on");
    table.replaceChildren(caption, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows));
    table.hidden = false;
  }

  // --- The drawing

  const spoken = "The training errors of both networks over the epochs. The text and the table below have the results.";
  let toError = () => 0;

  function picture(width) {
    const height = width < 480 ? 260 : 320;
    const right = 102;
    const ticks = Array.from({ length: data.epochs + 1 }, (_, epoch) => epoch);
    const { x, y, bottom, frame } = axes({ width, height, right, top: 100, ticks, label: "epoch", error: "training error" });
    toError = (place) => Math.max(0, Math.min(90, Math.round((100 * (bottom - place)) / (bottom - y(100)))));
    const curve = (values, kind, state) => {
      const points = values.map((error, epoch) => `${x(epoch).toFixed(1)},${y(error).toFixed(1)}`).join(" ");
      return draw("polyline", { points, class: `curve ${kind} ${state}` });
    };
    const earlier = finished.filter((one) => one !== run);
    const faint = earlier.flatMap((one) => kinds.map((kind) => curve(one[kind], kind, "earlier")));
    const others = earlier
      .filter((one) => one.depth !== (run ?? {}).depth)
      .map((one) => text(x(data.epochs) + 3, y(last(one.plain)) + 4, `${one.depth}`, { class: "plain earlier" }));
    const parts = [frame, ...faint, ...others, guessLine(x, y)];
    if (run && (run.isOver || !calm.matches)) parts.push(...race(x, y, curve));
    return draw("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": spoken }, ...parts);
  }

  function guessLine(x, y) {
    const place = y(guessed.input.value);
    const ends = { x1: x(0), x2: x(data.epochs), y1: place, y2: place };
    const words = guess === null ? "drag: your guess" : `your guess: ${guess} %`;
    const label = text(x(0) + 18, place - 7, words);
    const grip = draw("circle", { cx: x(0) + 6, cy: place, r: 6 });
    return draw("g", { class: "guess" }, draw("line", { ...ends, class: "hold" }), draw("line", ends), grip, label);
  }

  /** Both curves as far as they are, with a label at each head. */
  function race(x, y, curve) {
    const heads = kinds.filter((kind) => run[kind].length).map((kind) => ({ kind, error: last(run[kind]) }));
    const apart = heads.length === 2 ? Math.max(0, 16 - (y(heads[1].error) - y(heads[0].error))) : 0;
    return heads.flatMap(({ kind, error }) => {
      const place = { cx: x(run[kind].length - 1), cy: y(error) };
      const shift = heads[0].error < heads[1]?.error ? 0 : apart * (kind === "plain" ? -0.6 : 0.4);
      const label = text(place.cx + 9, place.cy + 4 + shift, `${kind} ${error.toFixed(0)} %`, { class: `name ${kind}` });
      return [curve(run[kind], kind, "now"), draw("circle", { ...place, r: 4.5, class: `dots ${kind}` }), label];
    });
  }

  function show() {
    const trains = run !== null && !run.isOver;
    button.textContent = trains ? "Stop" : finished.length ? "Train again" : "Train both";
    layers.show(depth());
    guessed.show(guess === null ? "?" : `${guess} %`);
    for (const kind of kinds) numbers[kind].textContent = run && run[kind].length ? percent(last(run[kind])) : "–";
    drawing.show(picture);
  }

  function setGuess(value) {
    guess = value;
    guessed.input.value = value;
    show();
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (run && !run.isOver) stop();
    else start();
  });
  layers.input.addEventListener("input", show);
  guessed.input.addEventListener("input", () => setGuess(Number(guessed.input.value)));
  const follow = (event) => setGuess(toError(event.clientY - drawing.box.getBoundingClientRect().top));
  drawing.box.addEventListener("pointerdown", (event) => {
    if (!event.target.closest(".guess")) return;
    event.preventDefault();
    drawing.box.setPointerCapture(event.pointerId);
    follow(event);
  });
  drawing.box.addEventListener("pointermove", (event) => {
    if (drawing.box.hasPointerCapture(event.pointerId)) follow(event);
  });

  if (data.depths.includes(Number(asked.get("depth")))) layers.input.value = asked.get("depth");
  numbers.time.textContent = "–";
  const question = "Two networks learn to read digits. They have the same layers and the same starting weights, and only ";
  status.append(question, "the residual one has ", plusX(), ". Which one learns better?");
  box.append(form, results, drawing.box, status, table, about);
  show();
  box.id = "train"; // where a shared address leads
  if (location.hash === "#train") box.scrollIntoView();
})();
