// All is read from the page's own data; the charts wait for plotly, which comes after this script.
const store = JSON.parse(document.getElementById("data").textContent);
store.wordpieces = store.pieces?.some((piece) => piece.includes("▁"));
const { names } = store;

const start = () => {
  if (store.kind === "curves") curves();
  else report();
  addEventListener("DOMContentLoaded", startCharts);
};
