/**
 * Where the reader writes, and what goes along.
 */

/** @type {import("../i18n.js").Table} */
export const WORDS = {
  "prompt": ["Message", "メッセージ"],
  "prompt.placeholder": ["Write a message", "メッセージを入力"],
  "prompt.hint": ["Enter sends · Shift + Enter starts a new line", "Enter で送信 · Shift + Enter で改行"],
  "prompt.hint.busy": ["Esc stops the answer", "Esc で回答を停止"],
  "send": ["Send", "送信"],
  "stop": ["Stop", "停止"],
  "attach": ["Attach pictures or text files", "画像やテキストファイルを添付"],
  "attach.pasted": ["Pasted text", "貼り付けたテキスト"],
  "attach.insert": ["Put “{name}” into the message", "「{name}」の内容を本文に入れる"],
  "attach.list": ["Attachments", "添付ファイル"],
  "attach.remove": ["Remove “{name}”", "「{name}」を外す"],
  "attach.reading": ["Reading “{name}”", "「{name}」を読み込んでいます"],
  "attach.drop": ["Drop pictures or text files", "画像やテキストファイルをここにドロップ"],
  "attach.still": ["first frame only", "最初のコマのみ"],
  "attach.dismiss": ["Dismiss", "閉じる"],
  "attach.enlarge": ["Enlarge “{name}”", "「{name}」を拡大"],
  "attach.close": ["Close", "閉じる"],
  "attach.more": ["{count} more characters are not shown.", "残り {count} 文字は表示していません。"],
  "say.attached": ["Attached: {name}", "添付しました：{name}"],
  "say.pasted": [
    "Attached as {name}. Ctrl + Shift + V pastes into the message.",
    "{name} として添付しました。Ctrl + Shift + V で本文に貼り付けます。",
  ],
  "say.removed": ["Removed: {name}", "外しました：{name}"],
  "refused": ["“{name}” is not attached. {reason}", "「{name}」は添付できません。{reason}"],
  "refused.empty": ["The file is empty.", "ファイルが空です。"],
  "refused.unreadable": ["It could not be read.", "読み込めませんでした。"],
  "refused.kind": [
    "It is neither a picture nor text in UTF-8, UTF-16, Shift_JIS, EUC-JP, ISO-2022-JP or Windows-1252.",
    "画像でも、UTF-8・UTF-16・Shift_JIS・EUC-JP・ISO-2022-JP・Windows-1252 のテキストでもありません。",
  ],
  "refused.large": ["It is larger than {most}.", "{most} を超えています。"],
  "refused.long": ["It is longer than the {most} of text that a model can read.", "テキストが長すぎます（{most} まで）。"],
  "refused.pictures": ["{model} takes no pictures.", "{model} は画像に対応していません。"],
  "refused.count": ["{model} takes {count} pictures at most.", "{model} に送れる画像は {count} 枚までです。"],
  "refused.size": ["With it, the message would exceed the {most} that the relay takes.", "中継サーバーの上限 {most} を超えます。"],
  "blocked.pictures": ["{model} takes no pictures. Remove them, or choose another model.", "{model} は画像に対応していません。画像を外すか、別のモデルを選んでください。"],
  "blocked.count": ["{model} takes {count} pictures at most. Remove some, or choose another model.", "{model} に送れる画像は {count} 枚までです。減らすか、別のモデルを選んでください。"],
  "blocked.size": ["The message exceeds the {most} that the relay takes.", "メッセージが中継サーバーの上限 {most} を超えています。"],
};
