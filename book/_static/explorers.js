/* What the three explorers share: elements, choices, and a state that the page's address holds after its #. */
const explorers = (() => {
  "use strict";

  function fill(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value !== false) element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children);
    return element;
  }

  /** An element of HTML; attributes that begin with "on" are listeners, and one that is false is left out. */
  const make = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);

  /** An element of a drawing. */
  const draw = (tag, attributes = {}, ...children) =>
    fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

  const options = (choices) => choices.map(([value, text]) => make("option", { value }, text));

  /** A labelled list to choose one of; each choice is [value, text]. */
  const select = (label, name, choices) =>
    make("label", { class: "explorer-choice" }, make("span", {}, label), make("select", { name }, ...options(choices)));

  /** A group of radio buttons or checkboxes; each choice is [value, text]. */
  const group = (legend, type, name, choices) =>
    make("fieldset", { class: "explorer-choice" }, make("legend", {}, legend), ...inputs(type, name, choices));

  const inputs = (type, name, choices) =>
    choices.map(([value, text]) =>
      make("label", {}, make("input", { type, name, value, autocomplete: "off" }), make("span", {}, text)),
    );

  const check = (form, name, values) => {
    for (const input of form.querySelectorAll(`input[name="${name}"]`)) input.checked = values.includes(input.value);
  };

  const checked = (form, name) =>
    [...form.querySelectorAll(`input[name="${name}"]:checked`)].map((input) => input.value);

  const whole = new Intl.NumberFormat("en-US");

  /** A whole number with its thousands apart. */
  const number = (value) => whole.format(value);

  /** A box for a drawing, which is made anew when the box gets wider or narrower. */
  function canvas() {
    const box = make("div", { class: "explorer-drawing" });
    let picture = null;
    let width = 0;
    const redraw = () => picture && width > 0 && box.replaceChildren(picture(width));
    new ResizeObserver(([entry]) => {
      if (Math.round(entry.contentRect.width) === width) return;
      width = Math.round(entry.contentRect.width);
      redraw();
    }).observe(box);
    const show = (picture_) => {
      picture = picture_;
      width ||= Math.round(box.clientWidth); // where the page has the box already, nothing below it moves
      redraw();
    };
    return { box, show };
  }

  const text = (x, y, content, attributes = {}) => draw("text", { x, y, ...attributes }, content);

  /** Axes with a grid: the ticks of x, with room for half a step around them if asked, and an error up to `top` %. */
  function axes({ width, height, right, top, ticks, around = 0, label, error }) {
    const [left, above, bottom] = [34, 28, height - 40];
    const [first, last] = [ticks[0] - around, ticks[ticks.length - 1] + around];
    const x = (value) => left + ((value - first) / Math.max(1, last - first)) * (width - left - right);
    const y = (value) => bottom - (value / top) * (bottom - above);
    const lines = [0, 0.25, 0.5, 0.75, 1].map((share) => {
      const value = share * top;
      const grid = draw("line", { x1: left, x2: width - right, y1: y(value), y2: y(value), class: "grid" });
      return draw("g", {}, grid, text(left - 6, y(value) + 4, `${+value.toFixed(2)}`, { "text-anchor": "end" }));
    });
    const every = Math.ceil(ticks.length / Math.max(2, Math.floor((width - left - right) / 26)));
    const marks = ticks
      .filter((_, place) => place % every === 0)
      .map((value) => text(x(value), bottom + 17, `${value}`, { "text-anchor": "middle" }));
    const names = [
      text((left + width - right) / 2, height - 4, label, { "text-anchor": "middle" }),
      text(0, 12, `${error} (%)`),
    ];
    return { x, y, bottom, frame: draw("g", { class: "axes" }, ...lines, ...marks, ...names) };
  }

  /**
   * Start the explorer of this name if the page has it. `build(data, change)` makes its parts and returns
   * `{ parts, correct, show }`: what to put on the page, how to mend a state that the address may hold wrongly, and how
   * to show one. `change(update)` goes to another state.
   */
  function run(name, build) {
    const box = document.querySelector(`.explorer[data-explorer="${name}"]`);
    if (!box) return;
    const data = JSON.parse(box.querySelector("script").textContent);
    let state;

    function go(asked) {
      state = correct({ ...data.start, ...asked });
      show(state);
    }

    /** Another explorer of the same page may have its state there, too. */
    function writeAddress() {
      const fields = new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
      for (const key of Object.keys(data.start)) fields.set(key, state[key]);
      history.replaceState(null, "", `#${decodeURIComponent(fields)}`);
    }

    function change(update) {
      go({ ...state, ...update });
      copied.textContent = "";
      writeAddress();
    }

    /** The address may also name a heading, which is no state: the page has gone there, and the state is back at once. */
    function readAddress() {
      const asked = new URLSearchParams(location.hash.slice(1));
      const known = Object.keys(data.start).filter((key) => asked.has(key));
      if (known.length || !state) go(Object.fromEntries(known.map((key) => [key, asked.get(key)])));
      else writeAddress();
    }

    async function copyLink() {
      writeAddress();
      try {
        await navigator.clipboard.writeText(location.href);
        copied.textContent = "Copied: it opens what you see.";
      } catch {
        copied.textContent = "The address of this page is the link: copy it from above.";
      }
    }

    const copied = make("span", { role: "status" });
    const link = make("button", { type: "button", onclick: copyLink }, "Copy a link to this");
    const { parts, correct, show } = build(data, change);
    box.append(...parts, make("p", { class: "explorer-link" }, link, " ", copied));
    addEventListener("hashchange", readAddress);
    readAddress();
  }

  return { axes, canvas, check, checked, draw, group, inputs, make, number, options, run, select, text };
})();
