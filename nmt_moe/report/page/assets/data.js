// What the page shows: the content of its own script element of data.

export const store = JSON.parse(document.getElementById("data").textContent);
store.wordpieces = store.pieces?.some((piece) => piece.includes("▁"));

export const names = store.names;
