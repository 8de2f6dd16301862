/* Block builder: tiles on the branch and on the shortcut; shapes and costs follow, and a wrong sum is PyTorch's error. */
explorers.run("block", (data, change) => {
  "use strict";
  const { check, group, make, number, options, select } = explorers;
  const NAMES = { 1: "1×1 conv", 3: "3×3 conv", b: "BatchNorm", r: "ReLU" };
  const MOST_TILES = 9;
  let state;

  // --- A block: what flows through its tiles

  /** "3.64.2" is a 3×3 convolution to 64 channels with stride 2, "b" BatchNorm, "r" ReLU. */
  function read(tile) {
    const [what, channels, stride] = tile.split(".");
    return { what, channels: Number(channels), stride: Number(stride) };
  }
  const tilesOf = (text) => (text ? text.split("-") : []);
  const shapeText = ([channels, side]) => `${channels} × ${side}×${side}`;

  /** The shape after every tile, and what they cost together; stops at a tile that can't be. */
  function flow(tiles, shape) {
    const result = { shapes: [], parameters: 0, weights: 0, macs: 0, ok: true };
    for (const tile of tiles.map(read)) {
      if (tile.what === "b") result.parameters += data.norm[shape[0]];
      if (NAMES[tile.what]?.endsWith("conv")) {
        const side = tile.stride === 2 ? data.halved[shape[1]] : shape[1];
        const weights = data.weights[`${tile.what}.${shape[0]}.${tile.channels}`];
        if (!side || !weights || ![1, 2].includes(tile.stride)) return { ...result, ok: false };
        result.parameters += weights;
        result.weights += weights;
        result.macs += data.macs[`${tile.what}.${shape[0]}.${tile.channels}.${side}`];
        shape = [tile.channels, side];
      } else if (!NAMES[tile.what]) return { ...result, ok: false };
      result.shapes.push(shape);
    }
    return result;
  }

  function correct({ level, branch, shortcut, after }) {
    if (!Object.hasOwn(data.levels, level)) level = data.start.level;
    const enter = data.levels[level].in;
    const fits = (tiles) => tiles.length <= MOST_TILES && flow(tiles, enter).ok;
    if (!fits(tilesOf(branch))) branch = "";
    if (shortcut !== "x" && !(shortcut.startsWith("1.") && fits([shortcut]))) shortcut = "none";
    return { level, branch, shortcut, after: after === "1" ? "1" : "0" };
  }

  // --- What the level asks for

  function wishes(level, branch, sum) {
    const [channels, side] = level.out;
    const whats = tilesOf(state.branch).map((tile) => read(tile).what);
    const steps = [...whats, "+", ...(state.after === "1" ? ["r"] : [])].join(" ");
    const inWords = (text) => text.split(" ").map((step) => NAMES[step] ?? step).join(", ");
    const list = [
      [`the sum works: F(x) and the shortcut have one shape`, sum !== null && state.shortcut !== "none"],
      [`it ends with ${channels} channels of ${side}×${side}`, `${sum ?? branch.end}` === `${level.out}`],
    ];
    if (level.steps) list.push([`the order is ${inWords(level.steps)}`, steps === level.steps]);
    if (level.most) {
      list.push(["there is a 3×3 convolution in it", whats.includes("3")]);
      list.push([`F(x) has at most ${number(level.most)} weights in its convolutions`, branch.weights <= level.most]);
    }
    return list;
  }

  // --- The page

  const form = make(
    "form",
    { class: "explorer-controls", onsubmit: (event) => event.preventDefault() },
    select("Level", "level", Object.entries(data.levels).map(([key, { title }]) => [key, title])),
    select("Channels of the next convolution", "channels", data.channels.map((one) => [one, one])),
    group("Its stride", "radio", "stride", [["1", "1"], ["2", "2"]]),
  );
  const { level: levelField, channels: channelsField } = form.elements;
  check(form, "stride", ["1"]);
  levelField.addEventListener("change", () => change({ ...data.start, level: levelField.value }));

  const convolution = (what) => `${what}.${channelsField.value}.${form.elements.stride.value}`;
  const add = (what) => {
    const tile = NAMES[what].endsWith("conv") ? convolution(what) : what;
    change({ branch: [...tilesOf(state.branch), tile].join("-") });
  };
  const button = (label, onclick, attributes = {}) => make("button", { type: "button", onclick, ...attributes }, label);
  const adders = ["3", "1", "b", "r"].map((what) => button(`+ ${NAMES[what]}`, () => add(what)));
  const bench = make("div", { class: "explorer-bench" }, make("span", {}, "Add to F(x): "), ...adders);

  const rows = { branch: make("ol", { class: "tiles" }), shortcut: make("ol", { class: "tiles" }) };
  const ways = {
    none: button("none", () => change({ shortcut: "none" })),
    x: button("x itself", () => change({ shortcut: "x" })),
    1: button("1×1 conv", () => change({ shortcut: convolution("1") })),
  };
  const last = button("ReLU behind the +", () => change({ after: state.after === "1" ? "0" : "1" }));
  const shortcuts = make("div", { class: "explorer-bench" }, "Shortcut: ", ways.none, ways.x, ways[1], last);
  const outcome = make("p", { class: "explorer-outcome", role: "status" });
  const figures = make("dl", { class: "explorer-numbers simple", "aria-live": "polite", "aria-atomic": "true" });
  const goals = make("ul", { class: "explorer-goals" });

  const tileText = (tile) => {
    const { what, channels, stride } = read(tile);
    return channels ? `${NAMES[what]}, ${channels}${stride === 2 ? ", stride 2" : ""}` : NAMES[what];
  };

  /** A tile is a button that takes it away; the one that takes its place is the next that the keyboard would take. */
  function showRow(name, tiles, shapes, enter, remove, otherwise) {
    const start = make("li", { class: "end" }, make("b", {}, "x"), make("small", {}, shapeText(enter)));
    const items = tiles.map((tile, place) => {
      const takeAway = () => {
        remove(place);
        const left = rows[name].querySelectorAll("button");
        (left[place] ?? left[place - 1] ?? otherwise).focus();
      };
      const away = button(tileText(tile), takeAway, { "aria-label": `Take away ${tileText(tile)}` });
      return make("li", {}, away, make("small", {}, shapeText(shapes[place])));
    });
    rows[name].replaceChildren(start, ...items);
  }

  function show(shown) {
    state = shown;
    const level = data.levels[state.level];
    levelField.value = state.level;
    const tiles = { branch: tilesOf(state.branch), shortcut: state.shortcut.startsWith("1.") ? [state.shortcut] : [] };
    const branch = flow(tiles.branch, level.in);
    const shortcut = flow(tiles.shortcut, level.in);
    branch.end = branch.shapes.at(-1) ?? level.in;
    shortcut.end = shortcut.shapes.at(-1) ?? level.in;
    const without = (place) => change({ branch: tiles.branch.filter((_, other) => other !== place).join("-") });
    showRow("branch", tiles.branch, branch.shapes, level.in, without, adders[0]);
    showRow("shortcut", tiles.shortcut, shortcut.shapes, level.in, () => change({ shortcut: "x" }), ways.x);
    rows.shortcut.hidden = state.shortcut === "none";

    const refusal = data.refusals[`${branch.end.join(".")}+${shortcut.end.join(".")}`];
    const sum = state.shortcut === "none" || refusal ? null : branch.end;
    const list = wishes(level, branch, sum);
    const solved = list.every(([, met]) => met);
    const relu = state.after === "1" ? "ReLU(F(x) + shortcut)" : "F(x) + shortcut";
    if (state.shortcut === "none") outcome.textContent = `Nothing is added yet: y = F(x), ${shapeText(branch.end)}.`;
    else if (refusal) outcome.textContent = `RuntimeError: ${refusal}`;
    else outcome.textContent = `y = ${relu}, ${shapeText(sum)}.${solved ? " Solved!" : ""}`;
    outcome.dataset.kind = refusal && state.shortcut !== "none" ? "error" : solved ? "solved" : "open";
    const total = (what) => number(branch[what] + shortcut[what]);
    const numbers = [["Parameters", "parameters"], ["Multiply-adds", "macs"]];
    figures.replaceChildren(
      ...numbers.map(([name, what]) => make("div", {}, make("dt", {}, name), make("dd", {}, total(what)))),
    );
    goals.replaceChildren(
      ...list.map(([text, met]) => make("li", { class: met ? "met" : "" }, met ? "✓ " : "○ ", text)),
    );
    for (const [way, pressed] of Object.entries(ways)) pressed.ariaPressed = state.shortcut.split(".")[0] === way;
    last.ariaPressed = state.after === "1";
    for (const adder of adders) adder.disabled = tiles.branch.length >= MOST_TILES;
  }

  return { parts: [form, bench, rows.branch, shortcuts, rows.shortcut, outcome, figures, goals], correct, show };
});
