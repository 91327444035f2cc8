/**
 * Every word that the page says, in every language that it speaks.
 */

/** @type {Record<string, string>} */
const ENGLISH = {
  "page.title": "chukei",
  "skip": "Skip to the message field",
  "brand.reading": "relay",
  "sidebar": "Conversations",
  "sidebar.open": "Open conversations",
  "sidebar.close": "Close conversations",
  "chat.new": "New chat",
  "history": "History",
  "history.empty": "Nothing yet.",
  "history.clear": "Clear history",
  "history.clear.confirm": "Press again to clear",
  "history.delete": "Delete “{title}”",
  "model": "Model",
  "model.default": "Default model",
  "simulator": "Simulator",
  "simulator.explained": "No model is connected. A built-in simulator writes these answers.",
  "settings": "Settings",
  "settings.system": "System message",
  "settings.system.hint": "Sent before every conversation. Leave empty for the relay’s own.",
  "settings.temperature": "Temperature",
  "settings.temperature.hint": "0 to 2. Empty means the model’s default.",
  "settings.key": "Access key",
  "settings.key.hint": "Kept in this tab only, until you close it.",
  "settings.key.forget": "Forget key",
  "settings.keep": "Keep history in this browser",
  "settings.keep.hint": "Off: conversations are gone when this page closes.",
  "language": "Language",
  "theme.auto": "Theme: as the system",
  "theme.light": "Theme: light",
  "theme.dark": "Theme: dark",
  "conversation": "Conversation",
  "welcome.heading": "Ask, and watch it arrive.",
  "welcome.text": "Each word is passed on the moment the model makes it.",
  "welcome.try": "Try one of these",
  "welcome.1": "Explain server-sent events as you would to a colleague",
  "welcome.2": "Write a Python function that retries with backoff",
  "welcome.3": "Compare three ways to authenticate an API, as a table",
  "prompt": "Message",
  "prompt.placeholder": "Write a message",
  "prompt.hint": "Enter sends · Shift + Enter starts a new line",
  "send": "Send",
  "stop": "Stop",
  "latest": "Jump to latest",
  "you": "You",
  "assistant": "Assistant",
  "copy": "Copy",
  "copied": "Copied",
  "code": "Code",
  "image": "Image",
  "table": "Table",
  "edit": "Edit",
  "edit.label": "Edit message",
  "edit.send": "Send again",
  "cancel": "Cancel",
  "regenerate": "Regenerate",
  "retry": "Try again",
  "retry.wait": "Try again ({seconds} s)",
  "thinking": "Reasoning",
  "waiting": "Waiting for the first token",
  "tool": "Tool call",
  "tool.note": "Shown for reading; this page does not run tools.",
  "say.generating": "Generating",
  "say.answer": "Answer: {text}",
  "say.stopped": "Stopped. {text}",
  "say.loaded": "Conversation opened: {title}",
  "notice.stopped": "You stopped this answer.",
  "notice.length": "The answer reached its length limit and ends here.",
  "notice.content_filter": "The content filter stopped this answer.",
  "notice.tool_calls": "The model asks for a tool to be called.",
  "notice.other": "The model ended with “{reason}”.",
  "notice.empty": "The model sent no text.",
  "refusal": "The model declined",
  "filter.found": "Found: {categories}",
  "filter.hate": "hate",
  "filter.self_harm": "self-harm",
  "filter.sexual": "sexual content",
  "filter.violence": "violence",
  "filter.profanity": "profanity",
  "filter.jailbreak": "attempt to bypass the rules",
  "filter.indirect_attack": "hidden instructions in a document",
  "filter.protected_material_text": "protected text",
  "filter.protected_material_code": "protected code",
  "filter.custom_blocklists": "blocklist",
  "severity.low": "low",
  "severity.medium": "medium",
  "severity.high": "high",
  "error.network": "The relay cannot be reached.",
  "error.access": "An access key is needed.",
  "error.http": "The relay answered with an error.",
  "error.upstream": "The model’s service failed while answering.",
  "error.cut": "The answer was cut short: the connection ended before the stream was complete.",
  "error.format": "The answer could not be understood.",
  "error.content_filter": "The content filter blocked this message.",
  "error.429": "Too many requests at the moment.",
  "error.404": "This model is not available here.",
  "error.models": "The list of models could not be loaded.",
  "error.retry_after": "The service asks to wait {seconds} s.",
  "error.request": "Request {id}",
  "error.status": "HTTP {status}",
  "access.heading": "This relay asks for an access key",
  "access.text": "Ask whoever runs it for one. The key stays in this tab and is forgotten when you close it.",
  "access.refused": "The relay did not accept this key.",
  "access.submit": "Use key",
  "figure.first": "First token",
  "figure.first.value": "{value} s",
  "figure.speed": "Speed",
  "figure.speed.value": "{value} tokens/s",
  "figure.tokens": "Tokens",
  "figure.tokens.value": "{input} in · {output} out",
  "figure.tokens.output": "{output} out",
  "figure.finish": "Finish",
  "figure.model": "Model",
};

/** @type {Record<string, string>} */
const JAPANESE = {
  "page.title": "chukei 中継",
  "skip": "メッセージ欄へ移動",
  "brand.reading": "ちゅうけい",
  "sidebar": "会話の一覧",
  "sidebar.open": "会話の一覧を開く",
  "sidebar.close": "会話の一覧を閉じる",
  "chat.new": "新しい会話",
  "history": "履歴",
  "history.empty": "まだ会話はありません。",
  "history.clear": "履歴を消去",
  "history.clear.confirm": "もう一度押すと消去します",
  "history.delete": "「{title}」を削除",
  "model": "モデル",
  "model.default": "既定のモデル",
  "simulator": "シミュレーター",
  "simulator.explained": "モデルには接続していません。内蔵のシミュレーターが回答しています。",
  "settings": "設定",
  "settings.system": "システムメッセージ",
  "settings.system.hint": "すべての会話の先頭に送ります。空欄なら中継側の設定を使います。",
  "settings.temperature": "温度（temperature）",
  "settings.temperature.hint": "0 から 2。空欄ならモデルの既定値です。",
  "settings.key": "アクセスキー",
  "settings.key.hint": "このタブの中だけに保存し、閉じると消えます。",
  "settings.key.forget": "キーを消去",
  "settings.keep": "履歴をこのブラウザーに残す",
  "settings.keep.hint": "オフにすると、ページを閉じたとき会話は消えます。",
  "language": "言語",
  "theme.auto": "配色：システムに合わせる",
  "theme.light": "配色：ライト",
  "theme.dark": "配色：ダーク",
  "conversation": "会話",
  "welcome.heading": "問えば、言葉が届く。",
  "welcome.text": "モデルが生み出した言葉を、その瞬間に中継します。",
  "welcome.try": "たとえば",
  "welcome.1": "Server-Sent Events を同僚に話すように説明して",
  "welcome.2": "バックオフ付きで再試行する Python の関数を書いて",
  "welcome.3": "API の認証方法を三つ、表で比べて",
  "prompt": "メッセージ",
  "prompt.placeholder": "メッセージを入力",
  "prompt.hint": "Enter で送信 · Shift + Enter で改行",
  "send": "送信",
  "stop": "停止",
  "latest": "最新へ移動",
  "you": "あなた",
  "assistant": "アシスタント",
  "copy": "コピー",
  "copied": "コピーしました",
  "code": "コード",
  "image": "画像",
  "table": "表",
  "edit": "編集",
  "edit.label": "メッセージを編集",
  "edit.send": "送り直す",
  "cancel": "キャンセル",
  "regenerate": "もう一度生成",
  "retry": "再試行",
  "retry.wait": "再試行（{seconds} 秒）",
  "thinking": "思考の過程",
  "waiting": "最初のトークンを待っています",
  "tool": "ツール呼び出し",
  "tool.note": "表示のみです。このページはツールを実行しません。",
  "say.generating": "生成しています",
  "say.answer": "回答：{text}",
  "say.stopped": "停止しました。{text}",
  "say.loaded": "会話を開きました：{title}",
  "notice.stopped": "この回答は途中で停止しました。",
  "notice.length": "長さの上限に達したため、回答はここまでです。",
  "notice.content_filter": "コンテンツフィルターが回答を止めました。",
  "notice.tool_calls": "モデルがツールの呼び出しを求めています。",
  "notice.other": "モデルは「{reason}」で終了しました。",
  "notice.empty": "モデルから文章は届きませんでした。",
  "refusal": "モデルは回答を控えました",
  "filter.found": "検出：{categories}",
  "filter.hate": "憎悪",
  "filter.self_harm": "自傷行為",
  "filter.sexual": "性的な内容",
  "filter.violence": "暴力",
  "filter.profanity": "不適切な言葉",
  "filter.jailbreak": "制限を回避する試み",
  "filter.indirect_attack": "文書に隠された指示",
  "filter.protected_material_text": "保護された文章",
  "filter.protected_material_code": "保護されたコード",
  "filter.custom_blocklists": "禁止語リスト",
  "severity.low": "低",
  "severity.medium": "中",
  "severity.high": "高",
  "error.network": "中継サーバーに接続できません。",
  "error.access": "アクセスキーが必要です。",
  "error.http": "中継サーバーがエラーを返しました。",
  "error.upstream": "回答の途中で、モデルのサービスに障害が起きました。",
  "error.cut": "回答が途中で切れました。ストリームが完了する前に接続が終わっています。",
  "error.format": "応答を解釈できませんでした。",
  "error.content_filter": "コンテンツフィルターがこのメッセージを遮断しました。",
  "error.429": "現在、リクエストが多すぎます。",
  "error.404": "このモデルはここでは使えません。",
  "error.models": "モデルの一覧を取得できませんでした。",
  "error.retry_after": "{seconds} 秒待つよう求められています。",
  "error.request": "リクエスト {id}",
  "error.status": "HTTP {status}",
  "access.heading": "アクセスキーを入力してください",
  "access.text": "キーは管理者にお尋ねください。このタブの中だけに保存し、閉じると消えます。",
  "access.refused": "このキーは受け付けられませんでした。",
  "access.submit": "キーを使う",
  "figure.first": "最初のトークン",
  "figure.first.value": "{value} 秒",
  "figure.speed": "速度",
  "figure.speed.value": "{value} トークン/秒",
  "figure.tokens": "トークン",
  "figure.tokens.value": "入力 {input} · 出力 {output}",
  "figure.tokens.output": "出力 {output}",
  "figure.finish": "終了理由",
  "figure.model": "モデル",
};

/** @type {Record<string, {name: string, strings: Record<string, string>}>} */
export const LANGUAGES = {
  en: { name: "English", strings: ENGLISH },
  ja: { name: "日本語", strings: JAPANESE },
};

/**
 * The first language of the reader's list that the page speaks.
 * @param {readonly string[]} wanted
 */
export function pickLanguage(wanted) {
  const known = wanted.map((tag) => tag.toLowerCase().split("-")[0]).find((tag) => tag in LANGUAGES);
  return known ?? "en";
}

/** Fires `change` when the language does. */
export class Words extends EventTarget {
  #language;

  /** @param {string} language */
  constructor(language) {
    super();
    this.#language = language;
  }

  get language() {
    return this.#language;
  }

  set language(language) {
    this.#language = language;
    this.dispatchEvent(new Event("change"));
  }

  /**
   * @param {string} key
   * @param {Record<string, string | number>} [values]
   * @returns {string}
   */
  say(key, values = {}) {
    const text = LANGUAGES[this.#language].strings[key];
    if (text === undefined) throw new Error(`no words for "${key}" in ${this.#language}`);
    return text.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
  }

  /** @param {string} key */
  has(key) {
    return key in LANGUAGES[this.#language].strings;
  }

  /**
   * @param {number} value
   * @param {number} [digits] after the point
   */
  number(value, digits = 0) {
    return value.toLocaleString(this.#language, { minimumFractionDigits: digits, maximumFractionDigits: digits });
  }
}

/**
 * Fills the static parts of the page: `data-say` is an element's text, `data-say-label` its accessible
 * name and tooltip, `data-say-placeholder` its placeholder.
 * @param {Document} page
 * @param {Words} words
 */
export function sayPage(page, words) {
  page.documentElement.lang = words.language;
  page.title = words.say("page.title");
  for (const found of page.querySelectorAll("[data-say]")) {
    found.textContent = words.say(found.getAttribute("data-say") ?? "");
  }
  for (const found of page.querySelectorAll("[data-say-label]")) {
    const label = words.say(found.getAttribute("data-say-label") ?? "");
    found.setAttribute("aria-label", label);
    if (found instanceof HTMLButtonElement) found.title = label;
  }
  for (const found of page.querySelectorAll("[data-say-placeholder]")) {
    found.setAttribute("placeholder", words.say(found.getAttribute("data-say-placeholder") ?? ""));
  }
}
