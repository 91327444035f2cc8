/**
 * What failed, by the meanings of meanings.js: what happened, and (`.do`) what the reader can do.
 */

/** @type {import("../i18n.js").Table} */
export const WORDS = {
  "error.network.do": [
    "Check your connection, then try again.",
    "ネットワークの接続を確認して、もう一度お試しください。",
  ],
  "error.access.do": [
    "Enter your key below; the message is then sent again.",
    "下の欄にキーを入力してください。メッセージは自動で送り直します。",
  ],
  "error.upstream.do": ["Try again in a moment.", "しばらくしてから、もう一度お試しください。"],
  "error.cut.do": ["What had arrived is kept. Try again.", "届いた分は残っています。もう一度お試しください。"],
  "error.format.do": [
    "Try again. If it happens again, reload the page, or tell whoever runs this relay.",
    "もう一度お試しください。繰り返す場合は、ページを再読み込みするか、管理者にお知らせください。",
  ],
  "error.key_ended": ["Your access key is no longer valid.", "アクセスキーの有効期限が切れたか、キーが取り消されました。"],
  "error.key_ended.do": ["Ask whoever runs this relay for a new one.", "新しいキーを管理者にお尋ねください。"],
  "error.lockout": ["Too many wrong keys came from your network.", "お使いのネットワークから、誤ったキーが何度も送られました。"],
  "error.lockout.do": [
    "Wait a little, or enter the right key: it is accepted at once.",
    "しばらく待つか、正しいキーを入力してください。正しいキーはすぐに受け付けます。",
  ],
  "error.not_permitted": ["Your access does not permit this.", "この操作は許可されていません。"],
  "error.not_permitted.do": ["Whoever runs this relay can change that.", "管理者にご相談ください。"],
  "error.model_not_permitted": ["Your access does not include this model.", "このモデルの使用は許可されていません。"],
  "error.model_not_permitted.do": [
    "Choose another model, or ask whoever runs this relay.",
    "別のモデルを選ぶか、管理者にご相談ください。",
  ],
  "error.address": ["The relay does not accept requests from this address.", "このアドレスからのリクエストは受け付けられません。"],
  "error.address.do": [
    "Open the page at the relay’s own address. Whoever runs it can allow others.",
    "中継サーバー本来のアドレスでページを開いてください。ほかのアドレスは管理者が許可できます。",
  ],
  "error.busy": ["Too many requests at the moment.", "現在、リクエストが多すぎます。"],
  "error.busy.do": ["Wait a little, then try again.", "少し待って、もう一度お試しください。"],
  "error.model_busy": ["The model is fully occupied at the moment.", "現在、モデルが混み合っています。"],
  "error.model_busy.do": [
    "Wait a little, or choose another model.",
    "しばらく待つか、別のモデルを選んでください。",
  ],
  "error.relay_busy": ["The relay is fully occupied at the moment.", "現在、中継サーバーが混み合っています。"],
  "error.relay_busy.do": ["Wait a little, then try again.", "少し待って、もう一度お試しください。"],
  "error.quota": ["The allowance is used up.", "利用枠を使い切りました。"],
  "error.quota.do": [
    "It may be renewed with the next day or month. Whoever runs this relay can raise it.",
    "翌日または翌月に更新される場合があります。引き上げは管理者にご相談ください。",
  ],
  "error.above_limit": ["This message needs more than your limit ever allows.", "このメッセージは、利用上限を超えるため送れません。"],
  "error.above_limit.do": [
    "Shorten it, start a new chat, or set a lower output limit in the settings.",
    "短くするか、新しい会話を始めるか、設定で出力の上限を下げてください。",
  ],
  "error.too_long": ["The conversation is too long for this model.", "会話が長すぎて、このモデルでは扱えません。"],
  "error.too_long.do": [
    "Start a new chat, shorten the message, or choose a model with a larger context.",
    "新しい会話を始めるか、メッセージを短くするか、より長い文章を扱えるモデルを選んでください。",
  ],
  "error.too_large": ["The message is too large.", "メッセージが大きすぎます。"],
  "error.too_large.do": [
    "Send fewer or smaller attachments, or start a new chat.",
    "添付を減らすか小さくしてください。または新しい会話を始めてください。",
  ],
  "error.picture": ["The model cannot read a picture of this conversation.", "この会話の画像をモデルが読み取れません。"],
  "error.picture.do": [
    "Send another picture, as PNG or JPEG, or choose a model that takes pictures.",
    "PNG か JPEG の別の画像を送るか、画像に対応したモデルを選んでください。",
  ],
  "error.content_filter": ["The content filter blocked this message.", "コンテンツフィルターがこのメッセージを遮断しました。"],
  "error.content_filter.do": ["Put it in other words, and send it again.", "表現を変えて、送り直してください。"],
  "error.no_model": ["This model is not available here.", "このモデルはここでは使えません。"],
  "error.no_model.do": ["Choose another model.", "別のモデルを選んでください。"],
  "error.no_chat": ["This model does not answer in a chat.", "このモデルはチャットには使えません。"],
  "error.no_chat.do": ["Choose another model.", "別のモデルを選んでください。"],
  "error.setting": ["The model does not accept one of the settings.", "モデルが受け付けない設定があります。"],
  "error.setting.do": [
    "Clear the temperature and the output limit in the settings, or choose another model.",
    "設定の温度と出力の上限を空欄にするか、別のモデルを選んでください。",
  ],
  "error.refused": ["The service does not accept this request.", "このリクエストは受け付けられませんでした。"],
  "error.refused.do": [
    "Change the message or the settings, or choose another model.",
    "メッセージや設定を変えるか、別のモデルを選んでください。",
  ],
  "error.gone": ["Something that this conversation refers to is no longer there.", "この会話が参照しているものが、もうありません。"],
  "error.gone.do": ["Start a new chat.", "新しい会話を始めてください。"],
  "error.garbled": ["The request did not reach the relay as this page sent it.", "リクエストが途中で変わってしまったようです。"],
  "error.garbled.do": [
    "Reload the page. If that does not help, something on the way changes requests: tell whoever runs this relay.",
    "ページを再読み込みしてください。直らない場合は、経路に原因がありそうです。管理者にお知らせください。",
  ],
  "error.mismatch": ["The relay does not know what this page asks for.", "中継サーバーがこのページの要求に対応していません。"],
  "error.mismatch.do": ["Reload the page: it may be an old one.", "ページが古い可能性があります。再読み込みしてください。"],
  "error.upload": ["The message reached the relay too slowly.", "メッセージの送信に時間がかかりすぎました。"],
  "error.upload.do": [
    "Check your connection, or send smaller attachments.",
    "ネットワークの接続を確認するか、添付を小さくしてください。",
  ],
  "error.restart": ["The relay is restarting.", "中継サーバーを再起動しています。"],
  "error.restart.do": ["Try again in a few seconds.", "数秒後に、もう一度お試しください。"],
  "error.relay_part": ["A part of the relay is not available at the moment.", "現在、中継サーバーの一部の機能が使えません。"],
  "error.relay_part.do": [
    "Try again in a moment. If it lasts, tell whoever runs this relay.",
    "しばらくしてから、もう一度お試しください。続く場合は管理者にお知らせください。",
  ],
  "error.relay_fault": ["The relay made a mistake of its own.", "中継サーバーの内部でエラーが起きました。"],
  "error.relay_fault.do": [
    "Try again. If it happens again, show the details to whoever runs this relay.",
    "もう一度お試しください。繰り返す場合は、詳細を管理者にお知らせください。",
  ],
  "error.unreachable": ["The relay cannot reach the model’s service.", "中継サーバーがモデルのサービスに接続できません。"],
  "error.unreachable.do": [
    "Try again in a moment. If it lasts, tell whoever runs this relay.",
    "しばらくしてから、もう一度お試しください。続く場合は管理者にお知らせください。",
  ],
  "error.relay_not_let_in": [
    "The model’s service does not let the relay in.",
    "モデルのサービスが中継サーバーのアクセスを拒否しました。",
  ],
  "error.relay_not_let_in.do": [
    "Only whoever runs this relay can mend that: show them the details.",
    "管理者だけが直せます。詳細をお知らせください。",
  ],
  "error.no_deployment": ["This model is out of order at the moment.", "現在、このモデルは使えません。"],
  "error.no_deployment.do": [
    "Choose another model, or try again later. If it lasts, tell whoever runs this relay.",
    "別のモデルを選ぶか、後でもう一度お試しください。続く場合は管理者にお知らせください。",
  ],
  "error.no_answer": [
    "What came from the model’s service was not an answer.",
    "モデルのサービスから、正しい回答が届きませんでした。",
  ],
  "error.no_answer.do": [
    "Try again. If it happens again, show the details to whoever runs this relay.",
    "もう一度お試しください。繰り返す場合は、詳細を管理者にお知らせください。",
  ],
  "error.lost": ["The connection to the model’s service broke.", "モデルのサービスとの接続が切れました。"],
  "error.lost.do": ["Try again.", "もう一度お試しください。"],
  "error.timeout": ["The model took too long.", "モデルの応答に時間がかかりすぎました。"],
  "error.timeout.do": [
    "Try again, perhaps with a shorter question or another model.",
    "もう一度お試しください。質問を短くするか、別のモデルを選ぶとうまくいくことがあります。",
  ],
  "error.service_fault": ["The model’s service has a fault at the moment.", "現在、モデルのサービスに障害が起きています。"],
  "error.service_fault.do": [
    "Try again in a moment, or choose another model.",
    "しばらくしてからもう一度試すか、別のモデルを選んでください。",
  ],
};
