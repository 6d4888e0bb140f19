// Elements and what is remembered. Text only ever becomes text nodes.

export const el = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((child) => child != null));
  return node;
};

/** @returns {any} an element of the page, which has it */
export const byId = (id) => document.getElementById(id);

// Runs when nobody has asked for it again for so many milliseconds; `stop` takes it back.
export const debounced = (wait, run) => {
  let timer = 0;
  const later = (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => run(...given), wait);
  };
  later.stop = () => clearTimeout(timer);
  return later;
};

export const pause = (milliseconds, signal) => new Promise((done) => {
  const timer = setTimeout(done, milliseconds);
  signal?.addEventListener("abort", () => {
    clearTimeout(timer);
    done();
  }, { once: true });
});

// A browser may forbid to remember; then it is forgotten with the page.
const store = (kind) => {
  const own = new Map();
  return {
    get: (name) => {
      try {
        return globalThis[kind].getItem(`nmt-moe.${name}`) ?? own.get(name) ?? null;
      } catch {
        return own.get(name) ?? null;
      }
    },
    set: (name, value) => {
      own.set(name, value);
      try {
        globalThis[kind].setItem(`nmt-moe.${name}`, value);
      } catch {
        // as said above
      }
    },
  };
};

export const remembered = store("localStorage");
export const untilClosed = store("sessionStorage");
