// Copyright 2026 The freshbearer authors
// SPDX-License-Identifier: Apache-2.0

// The page works without this: its form leads the whole window there and back.
// With it, the window stays, and a popup goes.

const { freshbearer } = globalThis // connect.js
const said = document.getElementById('said')

async function connect (event) {
  event.preventDefault()
  said.textContent = ''
  try {
    const answer = await fetch('/connect', { method: 'POST', headers: { Accept: 'application/json' } })
    if (!answer.ok) throw new Error(await answer.text())
    const { url } = await answer.json()
    const { connection } = await freshbearer.connect(url)
    // The server asks the proxy whether that is so.
    location.assign('/?freshbearer_connection=' + encodeURIComponent(connection))
  } catch (error) {
    said.textContent = error.code === 'window_closed' ? 'The window was closed. Nothing was connected.' : error.message
  }
}

if (freshbearer) {
  document.querySelector('form[action="/connect"]')?.addEventListener('submit', connect)
  // It takes what came back out of the address; the server has said it.
  freshbearer.returned().catch(() => {})
}
