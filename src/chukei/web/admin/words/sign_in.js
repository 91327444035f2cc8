/**
 * Signing in, and who is signed in.
 */

/** @type {import("../../i18n.js").Table} */
export const WORDS = {
  "sign_in.heading": ["Sign in", "サインイン"],
  "sign_in.text": [
    "With your organisation’s account. You stay signed in until you sign out, leave or reload this page.",
    "組織のアカウントを使います。サインアウト、移動、再読み込みをするまで有効です。",
  ],
  "sign_in.button": ["Sign in with Microsoft", "Microsoft でサインイン"],
  "sign_in.running": ["Signing in …", "サインインしています…"],
  "sign_in.insecure": [
    "Signing in with Microsoft needs HTTPS: over plain HTTP browsers lack what it takes. Open this page by its https:// address.",
    "Microsoft でのサインインには HTTPS が必要です。HTTP ではブラウザーの必要な機能が使えません。https:// のアドレスで開いてください。",
  ],
  "sign_in.out": ["Sign out", "サインアウト"],
  "sign_in.looks": ["may only look", "閲覧のみ"],
  "sign_in.looks.text": [
    "You may look, but not change anything. The role for changes is given in Entra ID.",
    "閲覧のみ可能です。変更の権限は Entra ID のロールで付与されます。",
  ],
  "error.not_allowed": ["You may look, but not change anything.", "閲覧のみ可能で、変更はできません。"],
  "error.missing_permission": [
    "Your account has no role for this administration. Who administers your tenant can give it one.",
    "このアカウントには管理画面のロールがありません。テナントの管理者に付与を依頼してください。",
  ],
  "error.token_expired": ["Your sign-in has ended. Sign in again.", "サインインの期限が切れました。もう一度サインインしてください。"],
  "error.identity_unavailable": ["The relay cannot check sign-ins at the moment.", "現在、中継サーバーはサインインを確認できません。"],
  "error.session_ended": [
    "A sign-in to this page lasts 24 hours at most. Sign in again.",
    "このページのサインインは最長 24 時間です。もう一度サインインしてください。",
  ],
  "error.sign_in_denied": [
    "The sign-in was cancelled, or your account may not use this application.",
    "サインインが取り消されたか、このアカウントではこのアプリを使えません。",
  ],
  "error.sign_in_ended": ["Your sign-in has ended. Sign in again.", "サインインの期限が切れました。もう一度サインインしてください。"],
  "error.sign_in_later": ["Microsoft’s login service has a problem. Try again later.", "Microsoft のログイン サービスに問題があります。しばらくしてから再試行してください。"],
  "error.sign_in_state": [
    "This sign-in was not begun here, or was begun too long ago. Sign in again.",
    "このサインインはこの画面で始められたものではないか、古すぎます。もう一度サインインしてください。",
  ],
  "error.sign_in_unreachable": ["Microsoft’s login service cannot be reached.", "Microsoft のログイン サービスに接続できません。"],
  "error.sign_in_registration": [
    "Microsoft’s login service refuses this page. The relay’s operator should check the app registration.",
    "Microsoft のログイン サービスがこのページを拒否しました。運用者はアプリの登録を確認してください。",
  ],
};
