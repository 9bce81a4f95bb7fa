/** A company that was connected. Ask the proxy for it with your key before you store it. */
export interface Connected {
	connection: string
	company: string | null
}

/** Why no company was connected; `code` is the cause, such as `access_denied`. */
export interface ConnectError extends Error {
	code: string
}

/**
 * Connects a company in a popup. Call it in a click, with the URL that your
 * server got from `POST /oauth/links` for a `return_url` on this page's origin.
 * If the browser blocks the popup, this page is left for that URL, and the
 * promise never settles: see `returned`. Rejects with a ConnectError.
 */
export function connect(url: string): Promise<Connected>

/**
 * For the page at the `return_url`: what came of it, or null if the browser did
 * not come from there. Rejects with a ConnectError.
 */
export function returned(): Promise<Connected | null>
