/**
 * The console's views, in the order of the navigation. The first is shown where the address names none.
 */

import { AuditView } from "./views/audit.js";
import { CallersView } from "./views/callers/view.js";
import { ConfigurationView } from "./views/configuration/view.js";
import { DeploymentsView } from "./views/deployments/view.js";
import { KeysView } from "./views/keys.js";
import { NowView } from "./views/now/view.js";
import { UsageView } from "./views/usage/view.js";

/** The words for a view's name are `view.NAME`. @type {[name: string, kind: import("./view.js").ViewKind][]} */
export const VIEWS = [
  ["now", NowView],
  ["usage", UsageView],
  ["callers", CallersView],
  ["keys", KeysView],
  ["deployments", DeploymentsView],
  ["configuration", ConfigurationView],
  ["audit", AuditView],
];
