/* The interview's pages are complete without this script. It adds search and filters to the questions, and turns the
   list of the quiz into a game. */
(() => {
  "use strict";

  /** An element; attributes that begin with "on" are listeners. */
  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else element.setAttribute(name, value);
    }
    element.append(...children);
    return element;
  }

  function select(label, name, choices, attributes = {}) {
    const options = choices.map(([value, text]) => make("option", { value }, text));
    return make("label", {}, `${label} `, make("select", { name, ...attributes }, ...options));
  }

  const button = (text, onclick) => make("button", { type: "button", onclick }, text);
  const count = (number, thing) => `${number} ${thing}${number === 1 ? "" : "s"}`;

  // --- The questions: search, filters, open all and close all. The address holds what is asked for.

  function addTools(questions) {
    const sections = [...new Set(questions.map((question) => question.parentElement))];
    const topics = sections.map((section) => [
      section.querySelector(":scope > details").dataset.topic,
      section.querySelector("h2").firstChild.textContent,
    ]);
    const levels = ["warm-up", "standard", "deep"].filter((level) => questions.some((q) => q.dataset.level === level));
    const texts = new Map(questions.map((question) => [question, question.textContent.toLowerCase()]));
    const open = (yes) => questions.forEach((question) => question.hidden || (question.open = yes));
    const status = make("p", { role: "status" });
    const nothing = make("p", { class: "interview-nothing", hidden: "" }, "No question has all of this. ", button("Show all", clear));
    const entries = [...sections, ...questions].map((part) => [
      part,
      document.querySelectorAll(`.toc-entry > a[href="#${part.id}"]`),
    ]);
    const tools = make(
      "form",
      { class: "interview-tools", role: "search" },
      make("label", {}, "Search ", make("input", { type: "search", name: "q", autocomplete: "off" })),
      select("Topic", "topic", [["", "All topics"], ...topics]),
      select("Level", "level", [["", "All levels"], ...levels.map((level) => [level, level])]),
      make(
        "div",
        { class: "interview-row" },
        status,
        button("Open all", () => open(true)),
        button("Close all", () => open(false)),
        button("Clear", clear),
      ),
    );
    const { q, topic, level } = tools.elements;
    const fields = [q, topic, level];

    function filter() {
      const words = q.value.toLowerCase().split(/\s+/);
      for (const question of questions) {
        const text = texts.get(question);
        question.hidden =
          (topic.value && question.dataset.topic !== topic.value) ||
          (level.value && question.dataset.level !== level.value) ||
          !words.every((word) => text.includes(word));
      }
      for (const section of sections) section.hidden = !section.querySelector(":scope > details:not([hidden])");
      for (const [part, links] of entries) for (const link of links) link.parentElement.hidden = part.hidden;
      const shown = questions.filter((question) => !question.hidden).length;
      const all = count(questions.length, "question");
      nothing.hidden = shown > 0;
      status.textContent = shown === questions.length ? all : `${shown} of ${all}`;
    }

    function changed() {
      const address = new URL(location);
      for (const field of fields) {
        if (field.value) address.searchParams.set(field.name, field.value);
        else address.searchParams.delete(field.name);
      }
      history.replaceState(null, "", address);
      filter();
    }

    function clear() {
      for (const field of fields) field.value = "";
      changed();
    }

    function readAddress() {
      const asked = new URL(location).searchParams;
      for (const field of fields) {
        field.value = asked.get(field.name) ?? "";
        if (field.selectedIndex < 0) field.value = ""; // no such choice
      }
      filter();
    }

    function openTarget() {
      const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
      if (!questions.includes(target) && !sections.includes(target)) return;
      if (target.closest("[hidden]")) clear();
      if (questions.includes(target)) target.open = true;
      target.scrollIntoView();
    }

    tools.addEventListener("input", changed);
    tools.addEventListener("submit", (event) => event.preventDefault());
    addEventListener("hashchange", openTarget);
    document.querySelector(".interview-place").append(tools, nothing);
    readAddress();
    openTarget();
  }

  // --- The quiz: rounds of up to ten questions in random order.

  function shuffle(items) {
    for (let last = items.length - 1; last > 0; last--) {
      const other = Math.floor(Math.random() * (last + 1));
      [items[last], items[other]] = [items[other], items[last]];
    }
    return items;
  }

  const copies = (nodes) => [...nodes].map((node) => node.cloneNode(true));

  /** An option of the list: what it says, and why it is right or wrong. */
  function readOption(item) {
    const [says, ...why] = item.children;
    return { isRight: item.classList.contains("right"), says: () => copies(says.childNodes), why: () => copies(why) };
  }

  function startQuiz(list) {
    const roundLength = 10;
    const questions = new Map(list.map((item) => [item.dataset.id, {
      topic: item.dataset.topic,
      text: () => copies(item.querySelector("summary").childNodes),
      options: [...item.querySelectorAll("li.right, li.wrong")].map(readOption),
      more: () => copies(item.querySelectorAll(":scope > p")),
    }]));
    const onTopic = (topic) => [...questions.keys()].filter((id) => !topic || questions.get(id).topic === topic);
    const topics = [["", "All topics"], ...list.map((item) => [item.dataset.topic, item.dataset.topic])];
    const choices = [...new Map(topics)].map(([topic, text]) => [topic, `${text} (${onTopic(topic).length})`]);
    const choice = select("Topic", "topic", choices, { onchange: newGame });
    const topic = choice.lastChild;
    const card = make("div", { class: "interview-card" });
    // Of questions only the ids, so that a reload and the way back from an answer find the game as it was: `waiting` are
    // those that no round has had yet, `order` the places of the options, `chosen` the one that was checked.
    let game;

    function remember() {
      try {
        sessionStorage.setItem("interview-quiz", JSON.stringify({ ...game, topic: topic.value }));
      } catch {
        // a browser that keeps nothing
      }
    }

    function remembered() {
      try {
        const kept = JSON.parse(sessionStorage.getItem("interview-quiz"));
        const known = [...kept.waiting, ...kept.round, ...kept.missed].every((id) => questions.has(id));
        return known && kept.round.length ? kept : null;
      } catch {
        return null;
      }
    }

    function newGame() {
      game = { waiting: [] };
      newRound();
    }

    function newRound() {
      if (!game.waiting.length) game.waiting = shuffle(onTopic(topic.value));
      play(game.waiting.splice(0, roundLength));
    }

    function play(round) {
      game = { waiting: game.waiting, round, place: 0, right: 0, missed: [] };
      ask();
    }

    function ask() {
      const options = questions.get(game.round[game.place]).options;
      Object.assign(game, { order: shuffle([...options.keys()]), chosen: null });
      show();
    }

    /** The question at hand, with its answer if it has been checked. */
    function show() {
      remember();
      if (game.place === game.round.length) return finish();
      const id = game.round[game.place];
      const question = questions.get(id);
      const labels = game.order.map((place) => {
        const radio = make("input", { type: "radio", name: "choice", value: place, required: "" });
        return make("label", {}, radio, make("span", {}, ...question.options[place].says()));
      });
      const feedback = make("div", { role: "status", class: "interview-feedback" });
      const submit = make("button", { type: "submit" }, "Check");
      const progress = make("p", { class: "interview-progress" });
      const tellScore = () => {
        progress.textContent = `Question ${game.place + 1} of ${game.round.length} · ${game.right} right`;
      };

      function tell() {
        const option = question.options[game.chosen];
        for (const label of labels) {
          const radio = label.firstChild;
          radio.checked = Number(radio.value) === game.chosen;
          if (question.options[radio.value].isRight) label.className = "right";
          else if (radio.checked) label.className = "wrong";
          radio.disabled = true;
        }
        const why = option.why();
        why[0].prepend(make("strong", {}, option.isRight ? "Right. " : "No. "));
        feedback.append(...why);
        if (!option.isRight) {
          const answer = question.options.find((other) => other.isRight);
          feedback.append(make("p", {}, make("strong", {}, "Right would be: "), ...answer.says()));
        }
        feedback.append(...question.more());
        tellScore();
        submit.textContent = game.place + 1 < game.round.length ? "Next question" : "See the score";
      }

      function check() {
        game.chosen = Number(labels.map((label) => label.firstChild).find((radio) => radio.checked).value);
        if (question.options[game.chosen].isRight) game.right += 1;
        else game.missed.push(id);
        remember();
        tell();
        submit.focus({ preventScroll: true });
      }

      function next() {
        game.place += 1;
        if (game.place === game.round.length) return show();
        ask();
        card.querySelector("input").focus({ preventScroll: true });
        card.scrollIntoView({ block: "nearest" });
      }

      const onsubmit = (event) => {
        event.preventDefault();
        if (game.chosen === null) check();
        else next();
      };
      const options = make("fieldset", {}, make("legend", {}, ...question.text()), ...labels);
      tellScore();
      card.replaceChildren(make("form", { onsubmit }, progress, options, feedback, submit));
      if (game.chosen !== null) tell();
    }

    function finish() {
      const { right, round, missed, waiting } = game;
      const score = make("p", { tabindex: "-1" }, make("strong", {}, `You had ${right} of ${round.length} right.`));
      const buttons = make("div", { class: "interview-row" });
      if (missed.length) buttons.append(button("Again the ones I missed", () => play(shuffle([...missed]))));
      buttons.append(button(waiting.length ? `Next round (${waiting.length} left)` : "All again", newRound));
      card.replaceChildren(score, buttons);
      score.focus();
    }

    /** The keys 1 to 4 choose an option, as on the card; Enter checks it, and goes on. */
    function chooseByKey(event) {
      if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input:not([type=radio]), select, textarea")) return;
      const radio = card.querySelectorAll("input[name=choice]:enabled")["1234".indexOf(event.key)];
      if (!radio) return;
      radio.checked = true;
      radio.focus({ preventScroll: true });
    }

    list[0].before(make("div", { class: "interview-game" }, choice, card));
    for (const item of list) item.hidden = true;
    addEventListener("keydown", chooseByKey);
    const kept = remembered();
    if (kept) {
      topic.value = kept.topic;
      game = kept;
      show();
    } else newGame();
  }

  function start() {
    const questions = [...document.querySelectorAll("details.interview-question")];
    if (questions.length) addTools(questions);
    const quiz = [...document.querySelectorAll("details.interview-quiz")];
    if (quiz.length) startQuiz(quiz);
  }

  if (document.readyState === "loading") addEventListener("DOMContentLoaded", start);
  else start();
})();
