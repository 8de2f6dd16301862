// The menus at the top of a page: open with a click or Enter, close with Escape, or when one goes elsewhere.
document.querySelectorAll('[data-bs-toggle="dropdown"]').forEach((button) => {
  const box = button.parentElement;
  const menu = button.nextElementSibling;
  const show = (open) => {
    [button, menu].forEach((one) => one.classList.toggle("show", open));
    button.setAttribute("aria-expanded", open);
  };
  button.addEventListener("click", () => show(button.getAttribute("aria-expanded") !== "true"));
  document.addEventListener("click", (event) => box.contains(event.target) || show(false));
  box.addEventListener("focusout", (event) => event.relatedTarget && (box.contains(event.relatedTarget) || show(false)));
  box.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && button.classList.contains("show")) {
      show(false);
      button.focus();
    }
  });
});

// The theme lets keys reach what is wider than the screen, and measures again when the window changes its size. What was
// folded away had no size. Only what is unfolded in the text counts: the list of chapters unfolds while the page loads.
document.querySelector("main").addEventListener("toggle", () => window.dispatchEvent(new Event("resize")), true);
