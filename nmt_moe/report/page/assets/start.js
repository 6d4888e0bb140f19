// The charts wait for plotly, which comes after this script.

import { startCharts } from "./charts.js";
import { curves } from "./curves.js";
import { store } from "./data.js";
import { report } from "./report.js";

if (store.kind === "curves") curves();
else report();
addEventListener("DOMContentLoaded", startCharts);
