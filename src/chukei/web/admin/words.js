/**
 * Every table of the administrators' page.
 */

import { WORDS as COMMON } from "../words/common.js";
import { WORDS as AUDIT } from "./words/audit.js";
import { WORDS as CALLERS } from "./words/callers.js";
import { WORDS as CONFIGURATION } from "./words/configuration.js";
import { WORDS as DEPLOYMENTS } from "./words/deployments.js";
import { WORDS as KEYS } from "./words/keys.js";
import { WORDS as NOW } from "./words/now.js";
import { WORDS as REASONS } from "./words/reasons.js";
import { WORDS as SHELL } from "./words/shell.js";
import { WORDS as SIGN_IN } from "./words/sign_in.js";
import { WORDS as USAGE } from "./words/usage.js";

export const ADMIN_WORDS = [COMMON, REASONS, SHELL, SIGN_IN, NOW, USAGE, CALLERS, KEYS, DEPLOYMENTS, CONFIGURATION, AUDIT];
