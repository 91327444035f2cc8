/**
 * Every table of the chat page, and the words around its conversation.
 */

import { WORDS as ANSWER } from "./answer.js";
import { WORDS as COMMON } from "./common.js";
import { WORDS as COMPOSER } from "./composer.js";
import { WORDS as FAILURES } from "./failures.js";
import { WORDS as HISTORY } from "./history.js";
import { WORDS as SETTINGS } from "./settings.js";

/** @type {import("../i18n.js").Table} */
const AROUND = {
  "skip": ["Skip to the message field", "メッセージ欄へ移動"],
  "conversation": ["Conversation", "会話"],
  "welcome.heading": ["Ask, and watch it arrive.", "問えば、言葉が届く。"],
  "welcome.text": ["Each word is passed on the moment the model makes it.", "モデルが生み出した言葉を、その瞬間に中継します。"],
  "welcome.try": ["Try one of these", "たとえば"],
  "welcome.1": ["Explain server-sent events as you would to a colleague", "Server-Sent Events を同僚に話すように説明して"],
  "welcome.2": ["Write a Python function that retries with backoff", "バックオフ付きで再試行する Python の関数を書いて"],
  "welcome.3": ["Compare three ways to authenticate an API, as a table", "API の認証方法を三つ、表で比べて"],
  "latest": ["Jump to latest", "最新へ移動"],
};

export const CHAT_WORDS = [COMMON, AROUND, HISTORY, COMPOSER, ANSWER, FAILURES, SETTINGS];
