// What a reader types, read as the index was written (search.py); part of Sphinx's language_data.js.
let asked = [];

function splitQuery(query) {
  const words = query.toLowerCase().match(/\d+(?:,\d{3})*(?![\p{L}\p{N}_])|[\p{L}\p{N}_]+/gu) ?? [];
  asked = words.map((word) => (/^\d+(,\d{3})*$/.test(word) ? `n${word.replaceAll(",", "")}` : nearest(word)));
  return asked;
}

// The word itself if any page has it, or a longer one; otherwise the first that is one slip of the finger away.
function nearest(word) {
  const known = Object.keys({ ...Search._index?.titleterms, ...Search._index?.terms });
  const stem = new Stemmer().stemWord(word);
  if (word.length < 4 || known.some((term) => term.includes(stem))) return word;
  return known.find((term) => isOneSlip(stem, term)) ?? word;
}

// One letter too many, too few, wrong, or two exchanged.
function isOneSlip(one, other) {
  let same = 0;
  while (same < one.length && one[same] === other[same]) same += 1;
  const [a, b] = [one.slice(same), other.slice(same)];
  const swapped = a.length > 1 && a[1] + a[0] + a.slice(2) === b;
  return a.slice(1) === b || a === b.slice(1) || a.slice(1) === b.slice(1) || swapped;
}

// A page named after what is asked stands first; chapters stand before what only lists terms.
var Scorer = {
  objNameMatch: 11, objPartialMatch: 6, objPrio: { 0: 15, 1: 5, 2: -5 }, objPrioDefault: 0,
  title: 15, partialTitle: 7, term: 5, partialTerm: 2,
  score: ([page, title, anchor, , score]) => {
    const isNamed = anchor === "" && asked.some((word) => title.toLowerCase().includes(word));
    return Math.min(score, 15) + (isNamed ? 20 : 0) + (page.startsWith("notebooks/") ? 5 : 0);
  },
};

// An excerpt is of the text, not of the list of contents before it, and numbers are in it as they are written.
const excerpt = Search.makeSearchSummary;
Search.makeSearchSummary = (page, words, anchor) => {
  const written = [...words].map((word) => word.replace(/^n(\d+)$/, (_, digits) => Number(digits).toLocaleString("en")));
  return excerpt(page.replace(/(<main[^>]*>)[^]*?(?=<article)/, "$1"), written, anchor);
};
