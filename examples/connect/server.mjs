// Copyright 2026 The freshbearer authors
// SPDX-License-Identifier: Apache-2.0

// An app that has its user connect a company, in a popup where it can be had,
// and shows the company's name. It knows a proxy key, and never sees a token.

import { createServer } from 'node:http'
import { readFileSync } from 'node:fs'

const proxy = process.env.FRESHBEARER_URL
const key = process.env.FRESHBEARER_KEY
const app = process.env.APP_URL ?? 'http://127.0.0.1:3000'
if (!proxy || !key) {
  console.error('FRESHBEARER_URL and FRESHBEARER_KEY are needed; README.md says what they are')
  process.exit(2)
}

// What a real app keeps in its database, for each of its users: the company,
// and when this user was last sent off to connect one.
const user = { connection: null, leftAt: null }

// ask sends a request to the proxy.
async function ask (path, { method = 'GET', body } = {}) {
  const answer = await fetch(proxy + path, {
    method, body: body && JSON.stringify(body), headers: { Authorization: `Bearer ${key}`, Accept: 'application/json' }
  })
  return { ok: answer.ok, status: answer.status, at: Date.parse(answer.headers.get('date')), body: await answer.json() }
}

// link makes a link for the user to connect a company, or to disconnect it.
async function link (purpose) {
  const body = { purpose, return_url: app + '/', ...(user.connection && { connection: user.connection }) }
  const made = await ask('/oauth/links', { method: 'POST', body })
  if (!made.ok) throw new Error(made.body.detail)
  if (purpose === 'connect') user.leftAt = made.at
  return made.body.url
}

// remember believes the address that the user came back to only as far as the
// proxy confirms it: anybody can type one. The company must have been
// connected since this user left, by the proxy's clock.
async function remember (connection) {
  if (user.leftAt === null) return
  const { ok, body } = await ask('/oauth/connections/' + encodeURIComponent(connection))
  if (ok && Date.parse(body.connected_at) >= user.leftAt) Object.assign(user, { connection, leftAt: null })
}

// company asks QuickBooks, through the proxy, for the company's name.
async function company () {
  if (!user.connection) return { state: 'none' }
  const { ok, status, body } = await ask(`/v3/company/${user.connection}/companyinfo/${user.connection}`)
  if (ok) return { state: 'connected', name: body.CompanyInfo.CompanyName }
  if (status !== 428) return { state: 'later', why: body.detail ?? `QuickBooks answers ${status}.` }
  if (body.cause !== 'disconnected') return { state: 'lost' }
  user.connection = null
  return { state: 'none' }
}

const failures = {
  access_denied: 'You did not allow it. Nothing was connected.',
  other_account: 'That was another company. Nothing has changed.'
}

const escape = text => String(text).replace(/[&<>"']/g, c => `&#${c.charCodeAt(0)};`)
const button = (action, label, kind = '') => `<form method="post" action="${action}"><button type="submit" class="${kind}">${label}</button></form>`

function page (now, error) {
  const parts = {
    none: () => `<p>Connect your company, and your invoices appear here.</p>${button('/connect', 'Connect to QuickBooks', 'brand')}`,
    connected: () => `<p>Connected to <strong id="company">${escape(now.name)}</strong>.</p>${button('/disconnect', 'Disconnect')}`,
    lost: () => `<p>The access to your company has ended. Allow it again to go on.</p>${button('/connect', 'Reconnect to QuickBooks', 'brand')}`,
    later: () => `<p>${escape(now.why)} Please load this page again in a moment.</p>`
  }
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Acme Billing</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/style.css">
<script src="${escape(proxy)}/oauth/connect.js" defer></script>
<script src="/app.js" defer></script>
</head>
<body>
<main>
<h1>Acme Billing</h1>
<h2>QuickBooks</h2>
${parts[now.state]()}
<p id="said" role="status">${error ? escape(failures[error] ?? `Not connected: ${error}.`) : ''}</p>
</main>
</body>
</html>
`
}

const files = {
  '/app.js': ['text/javascript', readFileSync(new URL('app.js', import.meta.url))],
  '/style.css': ['text/css', readFileSync(new URL('style.css', import.meta.url))]
}

async function serve (request, response) {
  const { pathname, searchParams } = new URL(request.url, app)
  const send = (status, type, body, headers) => response.writeHead(status, { 'Content-Type': `${type}; charset=utf-8`, ...headers }).end(body)
  const route = `${request.method} ${pathname}`
  if (request.method === 'POST' && !['same-origin', 'none', undefined].includes(request.headers['sec-fetch-site'])) {
    send(403, 'text/plain', 'This form comes from another site.\n')
  } else if (route === 'POST /connect' && request.headers.accept === 'application/json') {
    send(200, 'application/json', JSON.stringify({ url: await link('connect') }))
  } else if (route === 'POST /connect') {
    // The user has just pressed a button: no need for the page that asks again.
    response.writeHead(303, { Location: await link('connect') + '&start=1' }).end()
  } else if (route === 'POST /disconnect') {
    response.writeHead(303, { Location: await link('disconnect') }).end()
  } else if (request.method === 'GET' && files[pathname]) {
    send(200, ...files[pathname])
  } else if (route === 'GET /') {
    const connected = searchParams.get('freshbearer_connection')
    if (connected) await remember(connected)
    send(200, 'text/html', page(await company(), searchParams.get('freshbearer_error')), {
      'Cache-Control': 'no-store',
      'Content-Security-Policy': `default-src 'none'; script-src 'self' ${proxy}; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none'`
    })
  } else {
    send(404, 'text/plain', 'There is nothing here.\n')
  }
}

createServer((request, response) => serve(request, response).catch(error => {
  console.error(error)
  response.writeHead(502, { 'Content-Type': 'text/plain' }).end('The proxy gives no usable answer; the log says why.\n')
})).listen(Number(new URL(app).port || 80), '127.0.0.1', () => console.log(`Open ${app}`))
