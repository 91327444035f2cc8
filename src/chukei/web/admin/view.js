/**
 * What the console's parts promise one another. There is no code here.
 */

/**
 * What a view may use.
 * @typedef {object} Context
 * @property {import("./api.js").AdminApi} api
 * @property {import("../i18n.js").Words} words
 * @property {import("../views/announcer.js").Announcer} announcer
 * @property {(place: HTMLElement, work: () => Promise<void>, again?: (() => void) | null) => Promise<boolean>} attempt
 *   runs something that asks the relay, shows in `place` why it failed, with a button for `again`, and says whether it did well
 * @property {(address: string) => void} go leads to another address, such as `#/keys`
 * @property {() => Session} session
 * @property {(why: import("../errors.js").RelayError | null) => void} lock forgets the credential and shows the place for signing in
 */

/**
 * Who looks.
 * @typedef {object} Session
 * @property {string} actor as the audit trail names the credential
 * @property {string | null} name
 * @property {boolean} mayChange
 * @property {boolean} key whether the administrators' key was used
 */

/**
 * A part of the console with an address of its own: `#/NAME/PATH…?PARAMETERS`. It is made when it is first shown, and is
 * made by `new Kind(context)`. Elements with `data-say` in its root are filled before it is entered, and again in another
 * language; what it writes itself it writes again in `redraw`.
 * @typedef {object} View
 * @property {HTMLElement} root
 * @property {(path: string[], parameters: URLSearchParams) => void} enter it is shown, or its address has changed; all parameters are understood
 * @property {() => void} leave another is shown, or the console is locked: stop whatever runs
 * @property {() => void} redraw the language has changed; also while it is not shown
 * @property {() => void} clear the console is locked: forget everything that the relay said
 * @property {() => string | null} [heading] what its address is about, if that is not the view's own name: a name from outside
 */

/**
 * `parameters` are those that its address may have; without it there are none.
 * @typedef {{new (context: Context): View, parameters?: import("./address.js").Known}} ViewKind
 */

export {};
