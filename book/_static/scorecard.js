// Filter buttons of the scorecard: one verdict and one paper at a time; a second click shows all.
// Loaded on every page, as Sphinx does; it acts only where there is a scorecard.
document.addEventListener("DOMContentLoaded", () => {
  const rows = [...document.querySelectorAll("table.scorecard tbody tr")];
  const buttons = [...document.querySelectorAll(".scorecard-filters button")];
  if (!rows.length || !buttons.length) return;

  const chosen = {};
  const count = document.createElement("output");
  count.className = "scorecard-count";
  document.querySelector(".scorecard-filters").append(count);

  const show = () => {
    for (const row of rows) {
      row.hidden = Object.entries(chosen).some(([kind, value]) => row.dataset[kind] !== value);
    }
    for (const button of buttons) {
      const { filter, value } = button.dataset;
      button.setAttribute("aria-pressed", String(chosen[filter] === value));
    }
    count.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} claims`;
  };

  for (const button of buttons) {
    button.addEventListener("click", () => {
      const { filter, value } = button.dataset;
      if (chosen[filter] === value) delete chosen[filter];
      else chosen[filter] = value;
      show();
    });
  }
  show();
});
