"use strict";
// The scorecard: search and filters, kept in the address, and links that open what they name.
(() => {
  const form = document.querySelector("#claims .filters");
  if (!form) return;
  const rows = [...document.querySelectorAll("#claims details.claim")];
  const papers = [...document.querySelectorAll("#claims details.paper")];
  const text = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));

  function filter() {
    const asked = Object.fromEntries(new FormData(form)), wanted = asked.q.trim().toLowerCase();
    let count = 0;
    for (const row of rows) {
      const { verdicts, kind, paper, registered } = row.dataset;
      const fits = (!asked.verdict || verdicts.split(" ").includes(asked.verdict))
        && (!asked.kind || kind === asked.kind) && (!asked.paper || paper.split(" ").includes(asked.paper))
        && (!asked.registered || registered === asked.registered) && text.get(row).includes(wanted);
      row.hidden = !fits;
      count += fits;
    }
    const filtered = Object.values(asked).some(Boolean);
    for (const paper of papers) {
      const left = [...paper.querySelectorAll("details.claim")].some((row) => !row.hidden);
      paper.hidden = !left;
      if (filtered) paper.open = true;
    }
    form.elements.count.textContent = `${count} of ${rows.length} claims`;
    return asked;
  }
  form.addEventListener("input", () => {
    const asked = Object.entries(filter()).filter(([, value]) => value);
    history.replaceState(null, "", asked.length ? `#claims?${new URLSearchParams(asked)}` : "#claims");
  });
  form.addEventListener("submit", (event) => event.preventDefault());

  function follow() {
    const [id, query] = location.hash.slice(1).split("?");
    if (id === "claims" && query) {
      for (const [name, value] of new URLSearchParams(query)) if (form.elements[name]) form.elements[name].value = value;
      filter();
      document.getElementById("claims").scrollIntoView();
    }
    const target = id && document.getElementById(decodeURIComponent(id));
    if (!target || !target.closest("#claims details")) return;
    for (let box = target.closest("details"); box; box = box.parentElement.closest("details")) box.open = true;
    target.scrollIntoView({ block: "center" });
  }
  form.hidden = false;
  filter();
  addEventListener("hashchange", follow);
  follow();
})();
