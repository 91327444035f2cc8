/**
 * Every table of the chat page.
 */

import { WORDS as ANSWER } from "./answer.js";
import { WORDS as COMMON } from "./common.js";
import { WORDS as COMPOSER } from "./composer.js";
import { WORDS as FAILURES } from "./failures.js";
import { WORDS as HISTORY } from "./history.js";
import { WORDS as PAGE } from "./page.js";
import { WORDS as SETTINGS } from "./settings.js";

export const CHAT_WORDS = [COMMON, PAGE, HISTORY, COMPOSER, ANSWER, FAILURES, SETTINGS];
