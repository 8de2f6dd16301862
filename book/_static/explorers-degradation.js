/* Degradation explorer: recorded runs as curves, and their errors in a table. */
explorers.run("degradation", (data, change) => {
  "use strict";
  const { axes, canvas, check, checked, draw, group, inputs, make, options, select, text } = explorers;
  const kindOf = (network) => (network.shortcut === "none" ? "plain" : "residual");
  const different = (values) => [...new Set(values)];
  const errors = { train: "Training error", test: "Test error" };

  // --- Choices. What there is to choose depends on the set of runs.

  const form = make(
    "form",
    { class: "explorer-controls", onsubmit: (event) => event.preventDefault() },
    select("Runs", "set", Object.entries(data.sets).map(([key, set]) => [key, set.title])),
    select("Seed", "seed", []),
    group("Depth", "checkbox", "depths", []),
    group("Networks", "checkbox", "shortcuts", []),
    group("Curves", "radio", "error", [
      ["train", "training error"],
      ["test", "test error"],
    ]),
  );
  const { set: setField, seed: seedField } = form.elements;
  const several = ["depths", "shortcuts"];
  const fieldsets = Object.fromEntries(several.map((name, place) => [name, form.querySelectorAll("fieldset")[place]]));

  form.addEventListener("change", ({ target }) => {
    if (target.name === "set") change({ set: target.value, depths: "all", shortcuts: "all" });
    else if (several.includes(target.name)) change({ [target.name]: checked(form, target.name).join(",") });
    else change({ [target.name]: target.value });
  });

  const choicesOf = (set) => ({
    depths: different(set.networks.map((network) => `${network.depth}`)),
    shortcuts: different(set.networks.map((network) => network.shortcut)),
    seeds: different(set.networks.flatMap((network) => Object.keys(network.runs))),
  });

  function correct({ set, depths, shortcuts, seed, error }) {
    if (!Object.hasOwn(data.sets, set)) set = data.start.set;
    const there = choicesOf(data.sets[set]);
    const some = (asked, choices) => {
      const chosen = choices.filter((choice) => asked.split(",").includes(choice));
      return asked === "all" || chosen.length === choices.length ? "all" : chosen.join(",");
    };
    return {
      set,
      depths: some(depths, there.depths),
      shortcuts: some(shortcuts, there.shortcuts),
      seed: there.seeds.includes(seed) ? seed : "all",
      error: Object.hasOwn(errors, error) ? error : data.start.error,
    };
  }

  // --- The page

  const about = make("p", { class: "explorer-caption" });
  const drawing = canvas();
  const status = make("p", { class: "explorer-status", role: "status" });
  const table = make("table", { class: "explorer-table" });
  const values = make("div");
  const asNumbers = make("details", {}, make("summary", {}, "The curves as numbers"), values);

  function show(state) {
    const set = data.sets[state.set];
    const there = choicesOf(set);
    showChoices(state, there);
    const isShown = (name, value) => state[name] === "all" || state[name].split(",").includes(value);
    const networks = set.networks.filter(
      (network) => isShown("depths", `${network.depth}`) && isShown("shortcuts", network.shortcut),
    );
    const seeds = (network) => Object.keys(network.runs).filter((seed) => state.seed === "all" || seed === state.seed);
    const shown = networks.map((network) => ({
      ...network,
      kind: kindOf(network),
      weight: 1.4 + (1.6 * there.depths.indexOf(`${network.depth}`)) / Math.max(1, there.depths.length - 1),
      of: state.seed === "all" ? network : network.runs[state.seed],
      curves: seeds(network).map((seed) => ({ seed, values: network.runs[seed].curves[state.error] })),
    }));
    about.textContent = `${set.about}.`;
    drawing.show((width) => chart(shown, set, state, width));
    showTable(shown, state);
    const means = shown.map((network) => `${network.name}: ${network.of[state.error]} %`);
    status.textContent = shown.length ? `${errors[state.error]} at the end: ${means.join("; ")}.` : "No run is chosen.";
    values.replaceChildren(...shown.flatMap((network) => network.curves.map((curve) => spelled(network, curve))));
  }

  const listName = (shortcut) => (shortcut === "none" ? "plain" : `residual (option ${shortcut})`);

  /** Only what differs from what is there is made anew, so that the focus stays where it is. */
  function showChoices(state, there) {
    setField.value = state.set;
    const lists = {
      depths: there.depths.map((depth) => [depth, `${depth} layers`]),
      shortcuts: there.shortcuts.map((shortcut) => [shortcut, listName(shortcut)]),
    };
    for (const [name, list] of Object.entries(lists)) {
      const present = [...form.querySelectorAll(`[name="${name}"]`)].map((input) => input.value);
      if (present.join() !== there[name].join()) {
        const [legend] = fieldsets[name].children;
        fieldsets[name].replaceChildren(legend, ...inputs("checkbox", name, list));
      }
      check(form, name, state[name] === "all" ? there[name] : state[name].split(","));
    }
    const seeds = [["all", "all, with their mean"], ...there.seeds.map((seed) => [seed, seed])];
    seedField.replaceChildren(...options(seeds));
    seedField.value = state.seed;
    check(form, "error", [state.error]);
  }

  function chart(shown, set, state, width) {
    const height = 340;
    const ends = shown.flatMap((network) => network.curves.flatMap((curve) => curve.values));
    const highest = Math.max(...ends, 1);
    const top = [5, 10, 20, 40, 60, 80, 100].find((limit) => limit >= highest);
    const ticks = Array.from({ length: set.epochs }, (_, epoch) => epoch + 1);
    const right = width < 480 ? 92 : 100;
    const error = errors[state.error].toLowerCase();
    const { x, y, bottom, frame } = axes({ width, height, right, top, ticks, label: "epoch", error });
    const lines = shown.flatMap((network) =>
      network.curves.map((curve) => {
        const points = curve.values.map((value, epoch) => `${x(epoch + 1).toFixed(1)},${y(value).toFixed(1)}`);
        const one = network.curves.length > 1 ? { class: `curve one ${network.kind}` } : { class: `curve ${network.kind}` };
        const attributes = { points: points.join(" "), "stroke-width": network.weight, ...one };
        return draw("polyline", attributes, draw("title", {}, `${network.name}, seed ${curve.seed}`));
      }),
    );
    const means = shown.filter((network) => network.curves.length > 1).map((network) => {
      const mean = (epoch) => network.curves.reduce((sum, { values }) => sum + values[epoch], 0) / network.curves.length;
      const points = ticks.map((_, epoch) => `${x(epoch + 1).toFixed(1)},${y(mean(epoch)).toFixed(1)}`).join(" ");
      return draw("polyline", { points, class: `mean ${network.kind}`, "stroke-width": network.weight + 0.6 });
    });
    const middle = (network) => {
      const last = network.curves.map((curve) => y(curve.values[curve.values.length - 1]));
      return last.reduce((sum, place) => sum + place, 0) / last.length;
    };
    const places = apart(shown.map(middle), 15, bottom);
    const last = x(set.epochs);
    const leaders = shown.map((network, i) => {
      const points = `${last},${middle(network)} ${last + 4},${places[i]} ${last + 6},${places[i]}`;
      return draw("polyline", { points, class: `leader ${network.kind}` });
    });
    const labels = shown.map((network, i) =>
      text(width - right + 7, places[i] + 4, network.name, { class: `name ${network.kind}` }),
    );
    const spoken = `${errors[state.error]} in percent over the epochs, a thin curve for each run and a thick one for their mean. The table has their ends.`;
    const attributes = { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": spoken };
    return draw("svg", attributes, frame, ...lines, ...means, ...leaders, ...labels);
  }

  /** The places, moved as little as it takes to stand so far apart, and none below the lowest that there is. */
  function apart(places, distance, lowest) {
    const moved = places.map((place, i) => ({ place, i })).sort((a, b) => a.place - b.place);
    for (let round = 0; round < 100; round++) {
      for (let i = 1; i < moved.length; i++) {
        const lack = (distance - (moved[i].place - moved[i - 1].place)) / 2;
        if (lack <= 0) continue;
        moved[i - 1].place -= lack;
        moved[i].place += lack;
      }
      if (moved.length) moved[moved.length - 1].place = Math.min(lowest, moved[moved.length - 1].place);
    }
    return moved.sort((a, b) => a.i - b.i).map(({ place }) => place);
  }

  function showTable(shown, state) {
    const seeds = state.seed === "all" ? "Seeds" : "Seed";
    const chosen = (kind) => (state.error === kind ? "chosen" : "");
    const names = ["Network", seeds, ...Object.values(errors).map((error) => `${error}, %`)];
    const head = names.map((name) => make("th", { scope: "col" }, name));
    const rows = shown.map((network) =>
      make(
        "tr",
        { class: network.kind },
        make("th", { scope: "row" }, network.name),
        make("td", {}, state.seed === "all" ? `${network.n}` : state.seed),
        ...Object.keys(errors).map((kind) => make("td", { class: chosen(kind) }, network.of[kind])),
      ),
    );
    const explains = "At the end, by the trained network: mean ± standard deviation over seeds, or one seed.";
    const caption = make("caption", {}, explains);
    table.replaceChildren(caption, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows));
  }

  function spelled(network, curve) {
    const name = make("b", { class: network.kind }, `${network.name}, seed ${curve.seed}: `);
    return make("p", {}, name, curve.values.map((error) => error.toFixed(2)).join(", "));
  }

  return { parts: [form, drawing.box, about, status, table, asNumbers], correct, show };
});
