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
      const shown = questions.filter((question) => !question.hidden).length;
      const all = count(questions.length, "question");
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
    document.querySelector(".interview-place").append(tools);
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
    const questions = list.map((item) => ({
      topic: item.dataset.topic,
      text: () => copies(item.querySelector("summary").childNodes),
      options: [...item.querySelectorAll("li.right, li.wrong")].map(readOption),
      more: () => copies(item.querySelectorAll(":scope > p")),
    }));
    const onTopic = (topic) => questions.filter((question) => !topic || question.topic === topic);
    const topics = [["", "All topics"], ...list.map((item) => [item.dataset.topic, item.dataset.topic])];
    const choices = [...new Map(topics)].map(([topic, text]) => [topic, `${text} (${onTopic(topic).length})`]);
    const choice = select("Topic", "topic", choices, { onchange: newGame });
    const card = make("div", { class: "interview-card" });
    let waiting = []; // questions of the topic that no round has had yet
    let round, place, right, missed;

    function newGame() {
      waiting = [];
      newRound();
    }

    function newRound() {
      if (!waiting.length) waiting = shuffle(onTopic(choice.lastChild.value));
      play(waiting.splice(0, roundLength));
    }

    function play(questionsOfRound) {
      [round, place, right, missed] = [questionsOfRound, 0, 0, []];
      ask();
    }

    function ask() {
      const question = round[place];
      const labels = shuffle([...question.options]).map((option) => {
        const radio = make("input", { type: "radio", name: "choice", required: "" });
        radio.option = option;
        return make("label", {}, radio, make("span", {}, ...option.says()));
      });
      const feedback = make("div", { role: "status", class: "interview-feedback" });
      const submit = make("button", { type: "submit" }, "Check");
      let answered = false;

      function check() {
        answered = true;
        const option = labels.map((label) => label.firstChild).find((radio) => radio.checked).option;
        for (const label of labels) {
          const radio = label.firstChild;
          if (radio.option.isRight) label.className = "right";
          else if (radio.checked) label.className = "wrong";
          radio.disabled = true;
        }
        if (option.isRight) right += 1;
        else missed.push(question);
        const why = option.why();
        why[0].prepend(make("strong", {}, option.isRight ? "Right. " : "No. "));
        feedback.append(...why);
        if (!option.isRight) {
          const answer = question.options.find((other) => other.isRight);
          feedback.append(make("p", {}, make("strong", {}, "Right would be: "), ...answer.says()));
        }
        feedback.append(...question.more());
        progress.textContent = score();
        submit.textContent = place + 1 < round.length ? "Next question" : "See the score";
        submit.focus({ preventScroll: true });
      }

      function score() {
        return `Question ${place + 1} of ${round.length} · ${right} right`;
      }

      function next() {
        place += 1;
        if (place < round.length) {
          ask();
          card.querySelector("input").focus({ preventScroll: true });
          card.scrollIntoView({ block: "nearest" });
        } else finish();
      }

      const progress = make("p", { class: "interview-progress" }, score());
      const onsubmit = (event) => {
        event.preventDefault();
        if (answered) next();
        else check();
      };
      const options = make("fieldset", {}, make("legend", {}, ...question.text()), ...labels);
      card.replaceChildren(make("form", { onsubmit }, progress, options, feedback, submit));
    }

    function finish() {
      const score = make("p", { tabindex: "-1" }, make("strong", {}, `You had ${right} of ${round.length} right.`));
      const buttons = make("div", { class: "interview-row" });
      if (missed.length) buttons.append(button("Again the ones I missed", () => play(shuffle([...missed]))));
      buttons.append(button(waiting.length ? `Next round (${waiting.length} left)` : "All again", newRound));
      card.replaceChildren(score, buttons);
      score.focus();
    }

    list[0].before(make("div", { class: "interview-game" }, choice, card));
    for (const item of list) item.hidden = true;
    newGame();
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
