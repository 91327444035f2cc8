/**
 * The configuration in force.
 */

/** @type {import("../../i18n.js").Table} */
export const WORDS = {
  "view.configuration": ["Configuration", "設定"],
  "config.note": [
    "The settings that new requests have, in the process that answers. Secrets are never shown.",
    "応答したプロセスで、新しいリクエストに使われる設定です。秘密の値は表示しません。",
  ],
  "config.reload": ["Reload", "再読み込み"],
  "config.reloaded": ["The configuration was read again.", "設定を読み直しました。"],
  "config.outcome.nothing": ["The configuration was read again. Nothing has changed.", "設定を読み直しました。変更はありません。"],
  "config.outcome.changed": ["Changed", "変更"],
  "config.outcome.added": ["Added", "追加"],
  "config.outcome.removed": ["Removed", "削除"],
  "config.outcome.files": ["Files with another content", "内容が変わったファイル"],
  "config.outcome.restart": ["Takes effect only after a restart", "再起動が必要"],
  "config.version": ["Version", "バージョン"],
  "config.path": ["File", "ファイル"],
  "config.path.none": ["none: variables only", "なし（環境変数のみ）"],
  "config.files": ["Files that it names", "参照しているファイル"],
  "config.notices": ["Probably a mistake", "確認が必要な設定"],
  "config.simulated": [
    "No deployment is configured, so the built-in simulator answers.",
    "デプロイの設定がないため、内蔵シミュレーターが応答します。",
  ],
  "config.find": ["Find a setting", "設定を探す"],
  "config.all": ["Defaults too", "既定値も表示"],
  "config.section": ["Settings of {section}", "{section} の設定"],
  "config.key": ["Setting", "設定"],
  "config.value": ["Value", "値"],
  "config.place": ["From", "設定元"],
  "config.unset": ["not set", "未設定"],
  "config.secret": ["set, not shown", "設定済み（非表示）"],
  "config.place.file": ["the file", "設定ファイル"],
  "config.default": ["default", "既定"],
  "config.restart": ["needs a restart", "再起動が必要"],
  "config.count": ["Settings: {rows}.", "{rows} 件"],
  "config.cut": ["{shown} of {rows} settings are shown; search for the others.", "{rows} 件のうち {shown} 件を表示しています。ほかは検索してください。"],
  "error.configuration_refused": ["The new configuration has mistakes. The old one stays in force.", "新しい設定に誤りがあるため、以前の設定を使い続けます。"],
};
