// What a reader of this page cannot see or reach: a list of sentences, empty if all is well.
() => {
  const found = new Set();
  const width = document.documentElement.clientWidth;
  const name = (element) =>
    element.tagName.toLowerCase() + [...element.classList].map((one) => "." + one).join("");
  const parents = function* (element) {
    for (; element && element !== document.body; element = element.parentElement) yield element;
  };
  const sidewards = (element) => getComputedStyle(element).overflowX;

  if (document.documentElement.scrollWidth > width) found.add("the page scrolls sideways");

  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const text = texts.currentNode;
    const element = text.parentElement;
    const visible = element.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true });
    if (!text.data.trim() || !visible || element.closest("script, style, noscript")) continue;
    const range = document.createRange();
    range.selectNodeContents(text);
    const boxes = [...range.getClientRects()].filter((box) => box.width > 1 && box.height > 1);
    if (!boxes.length) continue;
    const left = Math.min(...boxes.map((box) => box.left));
    const right = Math.max(...boxes.map((box) => box.right));
    for (const parent of parents(element)) {
      const style = getComputedStyle(parent);
      if (style.clipPath !== "none" || parent.offsetWidth <= 1) break; // for screen readers alone
      const box = parent.getBoundingClientRect();
      const scrolls = ["auto", "scroll"].includes(style.overflowX);
      const end = scrolls ? box.left - parent.scrollLeft + parent.scrollWidth : box.right;
      const clips = style.overflowX !== "visible" && (right > end + 1 || left < box.left - 1);
      if (clips) found.add(`${name(parent)} cuts off "${text.data.trim().slice(0, 40)}"`);
      if (clips || scrolls || style.position === "fixed") break;
      if (parent.parentElement === document.body && (right > width + 1 || left < -1))
        found.add(`"${text.data.trim().slice(0, 40)}" leaves the screen`);
    }
  }

  for (const element of document.body.querySelectorAll("*")) {
    const scrolls = ["auto", "scroll"].includes(sidewards(element)) && element.scrollWidth > element.clientWidth + 1;
    if (!scrolls || !element.checkVisibility()) continue;
    const reachable = element.tabIndex >= 0 || element.querySelector("a[href], button, input, select, [tabindex='0']");
    if (!reachable) found.add(`${name(element)} scrolls, but no key reaches it`);
  }
  return [...found];
}
