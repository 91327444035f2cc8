/**
 * The administrators' page around its views.
 */

/** @type {import("../../i18n.js").Table} */
export const WORDS = {
  "page.title": ["chukei · administration", "chukei 中継 · 管理"],
  "page.title.view": ["{view} · chukei", "{view} · chukei 中継"],
  "address.wrong": [
    "The address said what is not known here, and what was left out: {parts}",
    "アドレスの次の部分は使えないため、除きました：{parts}",
  ],
  "admin.skip": ["Skip to the content", "本文へ移動"],
  "admin.views": ["Views", "画面の切り替え"],
  "admin.heading": ["Administration", "管理"],
  "admin.unlock": ["The administrators’ key", "管理者キー"],
  "admin.unlock.text": [
    "It stays in this page’s memory and is forgotten when you lock, leave or reload the page.",
    "キーはこのページのメモリー内だけにあり、ロック、移動、再読み込みで消えます。",
  ],
  "admin.key": ["Administrators’ key", "管理者キー"],
  "admin.open": ["Open", "開く"],
  "admin.lock": ["Lock", "ロック"],
  "error.access": ["This key does not open the administration.", "このキーでは管理画面を開けません。"],
  "error.invalid_admin_key": ["This key does not open the administration.", "このキーでは管理画面を開けません。"],
  "error.too_many_failures": ["Too many wrong keys came from your address.", "このアドレスから誤ったキーが多すぎます。"],
  "error.ledger_unavailable": ["The ledger’s database cannot be asked at the moment.", "現在、台帳のデータベースに問い合わせできません。"],
  "error.key_not_found": ["There is no such key any more.", "このキーはもうありません。"],
  "error.key_has_ended": ["This key has ended already.", "このキーはすでに無効です。"],
  "error.404": ["This relay has no administration.", "この中継サーバーには管理画面がありません。"],
  "error.invalid_value": ["The relay does not take this.", "この値は受け付けられません。"],
  "error.range": ["The last day is before the first.", "終了日が開始日より前です。"],
};
