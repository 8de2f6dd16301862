/* Depth explorer: a network drawn and counted. Every number is read from the page's data; nothing is counted here. */
explorers.run("depth", (data, change) => {
  "use strict";
  const { canvas, check, draw, group, make, number, options, select, text } = explorers;
  const dashes = { identity: "none", projection: "5 2.5", "zero padding": "1.5 2.5" };

  // --- Choices

  const networks = Object.entries(data.networks);
  const listed = (label, wanted) => {
    const chosen = networks.filter(([, network]) => wanted(network));
    return make("optgroup", { label }, ...options(chosen.map(([key, network]) => [key, `${network.depth} layers`])));
  };
  const form = make(
    "form",
    { class: "explorer-controls", onsubmit: (event) => event.preventDefault() },
    select("Network", "network", []),
    select("Input size", "size", []),
    group("Block", "radio", "block", [
      ["basic", "basic"],
      ["bottleneck", "bottleneck"],
    ]),
    group("Shortcuts", "radio", "shortcut", [
      ["none", "none (plain)"],
      ["A", "A: zero padding"],
      ["B", "B: 1×1 where the shape changes"],
      ["C", "C: 1×1 everywhere"],
    ]),
  );
  const { network: networkField, size: sizeField } = form.elements;
  networkField.append(
    listed("ImageNet, in the paper", (network) => network.family === "imagenet" && network.inPaper),
    listed("ImageNet, not in the paper", (network) => network.family === "imagenet" && !network.inPaper),
    listed("CIFAR-10", (network) => network.family === "cifar"),
  );
  form.addEventListener("change", ({ target }) => {
    if (target.name === "block") change({ network: data.networks[networkField.value].partner });
    else change({ [target.name]: target.value });
  });

  function correct({ network, shortcut, size }) {
    if (!Object.hasOwn(data.networks, network)) network = data.start.network;
    if (!Object.hasOwn(data.designs[network], shortcut)) shortcut = data.start.shortcut;
    const family = data.networks[network].family;
    if (!data.sizes[family].map(String).includes(size)) size = data.usualSize[family];
    return { network, shortcut, size };
  }

  // --- The numbers

  const title = make("p", { class: "explorer-title", "aria-live": "polite" });
  const figures = make("dl", { class: "explorer-numbers simple", "aria-live": "polite", "aria-atomic": "true" });
  const drawing = canvas();
  const key = make("p", { class: "explorer-caption" });
  const list = make("div", { class: "explorer-parts" });

  function show({ network: chosen, shortcut, size }) {
    const network = data.networks[chosen];
    const at = data.sizes[network.family].indexOf(Number(size));
    const design = data.designs[chosen][shortcut];
    const sides = data.sides[network.family][at];

    networkField.value = chosen;
    sizeField.replaceChildren(...options(data.sizes[network.family].map((side) => [side, `${side}×${side} pixels`])));
    sizeField.value = size;
    check(form, "block", [network.block]);
    check(form, "shortcut", [shortcut]);
    for (const radio of form.querySelectorAll('[name="block"]')) {
      radio.disabled = !network.partner && radio.value !== network.block;
    }

    const kind = shortcut === "none" ? "plain" : "residual";
    drawing.box.dataset.kind = kind;
    const about = network.inPaper ? "" : ", a depth that the paper does not have";
    title.textContent =
      kind === "plain" ? `Plain network of ${network.depth} layers${about}` : `ResNet-${network.depth}${about}`;
    const numbers = [
      ["Parameters", number(design.parameters)],
      ["Multiply-adds", number(design.macs[at])],
      ["Weight layers", network.depth],
    ];
    figures.replaceChildren(
      ...numbers.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, `${value}`))),
    );
    const groups = volumes(network, design, sides);
    drawing.show((width) => picture(groups, width));
    key.textContent = caption(groups);
    showParts(design, sides, at);
  }

  // --- The drawing: height grows with the pixels, thickness with the channels

  /** The network's parts from left to right: what each is called, and the volumes in it. */
  function volumes(network, design, sides) {
    const shape = (channels, side, part) => ({ channels, side, part, path: null });
    const blocks = design.parts.flatMap(([, block, count], part) => Array(count).fill({ ...data.blocks[block], part }));
    const [stem, head] = [blocks[0], blocks[blocks.length - 1]];
    const pooled = sides[2] < sides[1] ? [shape(stem.channels, sides[2], stem.part)] : [];
    const stages = network.numBlocks.map((count, stage) => ({
      name: `stage ${stage + 1}`,
      count,
      boxes: blocks.filter((block) => block.side === stage + 3).map((b) => ({ ...b, side: sides[b.side] })),
    }));
    return [
      { name: "image", boxes: [shape(3, sides[0])] },
      { name: "conv", boxes: [shape(stem.channels, sides[1], stem.part), ...pooled] },
      ...stages,
      { name: "linear", boxes: [shape(head.channels, 1, head.part)], classes: head.channels },
    ];
  }

  const labels = ({ name, count, classes, boxes }) => {
    const last = boxes[boxes.length - 1];
    if (classes) return [name, `${classes}`, "classes"];
    return [name, ...(count ? [`${count} blocks`] : []), `${last.channels} ch.`, `${last.side}×${last.side}`];
  };

  const ruler = document.createElement("canvas").getContext("2d"); // measures text

  function picture(all, width) {
    const groups = width < 480 ? all.slice(1) : all;
    const size = all[0].boxes[0].side;
    ruler.font = `600 ${width < 480 ? 11 : 12}px ${getComputedStyle(drawing.box).fontFamily}`;
    const textWidth = (line) => ruler.measureText(line).width + (width < 480 ? 3 : 8);
    const roomForText = (one) => Math.max(...labels(one).map(textWidth));
    const gap = (scale) => Math.min(7, Math.max(0.7, 4 * scale));
    const thickness = (box, scale) => Math.max(1.2, scale * Math.sqrt(box.channels));
    const drawn = (one, scale) => one.boxes.reduce((sum, box) => sum + thickness(box, scale) + gap(scale), 0);
    const room = (one, scale) => Math.max(roomForText(one), drawn(one, scale));
    const needed = (scale) => groups.reduce((sum, one) => sum + room(one, scale), 0);
    let scale = 1;
    while (needed(scale) > width && scale > 0.01) scale *= 0.96;
    const between = Math.max(0, width - needed(scale)) / (groups.length - 1);
    const floor = 138;
    const height = (box) => 6 + 112 * Math.sqrt(box.side / size);

    const content = [];
    let left = 0;
    for (const one of groups) {
      const space = room(one, scale);
      let x = left + (space - drawn(one, scale) + gap(scale)) / 2;
      for (const box of one.boxes) {
        const [w, h] = [thickness(box, scale), height(box)];
        const about = { class: "volume", "data-part": box.part ?? false };
        content.push(draw("rect", { x, y: floor - h, width: w, height: h, rx: Math.min(2, w / 4), ...about }));
        if (box.path) {
          const [from, to] = [x - gap(scale) / 2, x + w + gap(scale) / 2];
          const [top, rise] = [floor - h - 3, Math.min(26, Math.max(8, 1.2 * w))];
          const d = `M${from} ${top} C${from} ${top - rise} ${to} ${top - rise} ${to} ${top}`;
          content.push(draw("path", { d, class: "shortcut", "stroke-dasharray": dashes[box.path] }));
        }
        x += w + gap(scale);
      }
      labels(one).forEach((line, row) => {
        const attributes = { "text-anchor": "middle", class: row ? "" : "name" };
        content.push(text(left + space / 2, floor + 18 + 15 * row, line, attributes));
      });
      left += space + between;
    }
    const spoken = all.map((one) => labels(one).join(", ").replace("ch.", "channels")).join("; ");
    const attributes = { width, height: 206, viewBox: `0 0 ${width} 206`, role: "img", "aria-label": spoken };
    return draw("svg", attributes, ...content);
  }

  function caption(groups) {
    const paths = groups.flatMap((one) => one.boxes.map((box) => box.path)).filter(Boolean);
    const lines = { identity: "solid", projection: "dashed", "zero padding": "dotted" };
    const kinds = Object.keys(lines).filter((path) => paths.includes(path));
    const counted = kinds.map((path) => `${paths.filter((other) => other === path).length} ${path} (${lines[path]})`);
    const shortcuts = counted.length ? `Shortcuts: ${counted.join(", ")}.` : "No shortcuts.";
    return `${shortcuts} Height grows with the pixels, thickness with the channels.`;
  }

  // --- The arithmetic, part by part

  const open = new Set([1]);

  /** The drawing and the arithmetic point at each other: a volume opens its part, a part shows its volumes. */
  const point = (part) => {
    for (const volume of drawing.box.querySelectorAll(".volume")) {
      volume.classList.toggle("chosen", volume.dataset.part === `${part}`);
    }
  };
  drawing.box.addEventListener("click", ({ target }) => {
    const part = list.children[target.dataset.part];
    if (!part) return;
    part.open = true;
    part.firstChild.focus();
  });

  function showParts(design, sides, at) {
    const parts = design.parts.map(([name, place, count, parameters, macs], position) => {
      const block = data.blocks[place];
      const details = make("details", { open: open.has(position) }, summary(name, parameters, macs[at]));
      details.addEventListener("toggle", () => (details.open ? open.add(position) : open.delete(position)));
      const hover = (part) => () => list.contains(document.activeElement) || point(part); // the focus comes first
      details.addEventListener("pointerenter", hover(position));
      details.addEventListener("pointerleave", hover(-1));
      details.addEventListener("focusin", () => point(position));
      details.addEventListener("focusout", () => point(-1));
      details.append(table(block, count, parameters, macs, sides, at));
      return details;
    });
    list.replaceChildren(...parts, sum("Sum", design.parameters, design.macs[at]));
  }

  const cells = (name, parameters, macs) => [
    make("span", { class: "part" }, name),
    make("span", { class: "amount" }, make("b", {}, number(parameters)), " parameters"),
    make("span", { class: "amount" }, make("b", {}, number(macs)), " multiply-adds"),
  ];
  const summary = (...values) => make("summary", {}, ...cells(...values));
  const sum = (...values) => make("p", { class: "sum" }, ...cells(...values));

  const result = (before, value) => make("td", {}, before, " ", make("b", {}, number(value)));

  function line({ label, product, parameters, side, macs }, sides, at) {
    const pixels = side === undefined ? "" : `·${sides[side]}·${sides[side]}`;
    const work = macs ? result(`${product}${pixels} =`, macs[at]) : make("td", {}, "no work");
    return make("tr", {}, make("th", { scope: "row" }, label), result(`${product} =`, parameters), work);
  }

  function table(block, count, parameters, macs, sides, at) {
    const times = (value) => `${count}·${number(value)} =`;
    const row = (label, ...results) =>
      make("tr", { class: "total" }, make("th", { scope: "row" }, label), ...results.map((one) => result(...one)));
    const head = ["Layer", "Parameters", "Multiply-adds"].map((name) => make("th", { scope: "col" }, name));
    const all = () => row(`${count} blocks`, [times(block.parameters), parameters], [times(block.macs[at]), macs[at]]);
    const rows = [
      ...block.lines.map((place) => line(data.lines[place], sides, at)),
      row(count > 1 ? "one block" : "together", ["", block.parameters], ["", block.macs[at]]),
      ...(count > 1 ? [all()] : []),
    ];
    return make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows));
  }

  return { parts: [form, title, figures, drawing.box, key, list], correct, show };
});
