// What was read is kept in this browser alone: chapters read to their end are ticked off, and the front page leads on.
{
  const KEY = "chapters";
  const numberOf = (link) => link.textContent.trim().match(/^(\d+)\. /)?.[1];
  const links = [...document.querySelectorAll(".bd-sidebar-primary nav a, .cards a")].filter(numberOf);
  const here = links.find((link) => link.classList.contains("current"));
  let kept = { read: [] };
  try {
    kept = JSON.parse(localStorage.getItem(KEY)) ?? kept;
  } catch {
    // Nothing is kept where the browser keeps nothing.
  }

  const keep = (changes) => {
    Object.assign(kept, changes);
    try {
      localStorage.setItem(KEY, JSON.stringify(kept));
    } catch {
      // As above.
    }
    for (const link of links) {
      if (kept.read.includes(numberOf(link)) && !link.querySelector(".read")) {
        link.insertAdjacentHTML("beforeend", ' <span class="read" role="img" aria-label="read">✓</span>');
      }
    }
  };

  if (here) {
    const number = numberOf(here);
    keep({ last: number });
    const atTheEnd = new IntersectionObserver(([end]) => {
      if (end.isIntersecting && !kept.read.includes(number)) keep({ read: [...kept.read, number] });
    });
    atTheEnd.observe(document.querySelector(".prev-next-footer"));
  } else {
    keep({});
  }

  const goOn = links.find((link) => !kept.read.includes(numberOf(link)) && Number(numberOf(link)) >= Number(kept.last));
  const lead = document.querySelector("#resnet-built-and-measured > p");
  if (lead && goOn) {
    const link = goOn.cloneNode(true);
    link.className = "go-on";
    link.prepend("Go on with chapter ");
    lead.append(" ", link);
  }
}
