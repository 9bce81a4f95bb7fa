// Copyright 2026 The freshbearer authors
// SPDX-License-Identifier: Apache-2.0

// connect.js in a page of an app's. Told further: app, the origin of that page,
// and cut, a proxy on whose way the windows are cut apart.

import { createServer } from 'node:http'

import { choose, intuit, link, main, must, same, task } from './common.mjs'

const one = 'Sandbox Company US 1'
const back = task.app + '/back?tab=settings'

// Both pages of the app. The second presses its own button, which is what a
// browser calls a popup that nobody asked for.
const html = proxy => `<!DOCTYPE html>
<html lang="en"><head><title>App</title><link rel="icon" href="data:,"></head><body>
<script src="${proxy}/oauth/connect.js"></script>
<button>Connect</button> <p id="told"></p> <p id="returned"></p>
<script>
const tell = (id, promise) => promise.then(
  value => { document.getElementById(id).textContent = JSON.stringify(value) },
  error => { document.getElementById(id).textContent = error.name + ' ' + error.code + ': ' + error.message })
const query = new URLSearchParams(location.search)
document.querySelector('button').onclick = () => tell('told', freshbearer.connect(query.get('link')))
if (query.has('at-once')) document.querySelector('button').onclick()
tell('returned', freshbearer.returned())
</script></body></html>`

const server = createServer((request, response) => {
  const { searchParams } = new URL(request.url, task.app)
  response.writeHead(200, { 'Content-Type': 'text/html' }).end(html(searchParams.get('proxy') ?? task.proxy))
})
await new Promise(resolve => server.listen(new URL(task.app).port, '127.0.0.1', resolve))

const at = proxy => ({ proxy, back: back + (proxy ? '&proxy=' + encodeURIComponent(proxy) : '') })
const address = async ({ proxy, back } = at(), more = '') =>
  `${back}${more}&link=${encodeURIComponent(await link({ return_url: back }, proxy && { proxy }))}`

// begin presses the app's button, and returns the app's page and the popup.
async function begin (v, url) {
  const page = await v.open()
  await page.goto(url ?? await address())
  const [popup] = await Promise.all([page.waitForEvent('popup'), page.getByRole('button', { name: 'Connect' }).click()])
  return { page, popup }
}

const told = (page, id = 'told') => page.locator(`#${id}:not(:empty)`).innerText()

const flows = {
  async popup (v) {
    const { page, popup } = await begin(v)
    const closed = popup.waitForEvent('close')
    await choose(popup, one)
    same(await told(page), JSON.stringify({ connection: '9130347957983546', company: one }), 'what the app is told')
    await closed
    same(page.url().split('&link=')[0], back, 'where the app is')
    same(await told(page, 'returned'), 'null', 'what came back to a page that was not left')
  },

  async 'denied in the popup' (v) {
    const { page, popup } = await begin(v)
    const closed = popup.waitForEvent('close')
    await choose(popup, undefined, 'No thanks')
    same(await told(page), 'Error access_denied: The connection was not allowed.', 'what the app is told')
    await closed
  },

  async 'popup that is closed' (v) {
    const { page, popup } = await begin(v)
    await popup.getByRole('button', { name: 'No thanks' }).waitFor()
    await popup.close()
    same(await told(page), 'Error window_closed: window_closed', 'what the app is told')
  },

  async 'popup that is blocked' (v) {
    const page = await v.open()
    const popups = []
    page.on('popup', p => popups.push(p))
    await page.goto(await address(at(), '&at-once'))
    await choose(page, one)
    await page.getByRole('link', { name: 'Back to the app' }).click()
    same(await told(page, 'returned'), JSON.stringify({ connection: '9130347957983546', company: one, error: null }).replace(',"error":null', ''), 'what comes back')
    same(page.url(), back, 'the address that is left')
    same(popups.length, 0, 'the number of popups')
  },

  async 'denied where the popup is blocked' (v) {
    const page = await v.open()
    await page.goto(await address(at(), '&at-once'))
    await choose(page, undefined, 'No thanks')
    await page.getByRole('link', { name: 'Back to the app' }).click()
    same(await told(page, 'returned'), 'Error access_denied: access_denied', 'what comes back')
  },

  async 'windows that are cut apart' (v) {
    const { page, popup } = await begin(v, await address(at(task.cut)))
    const closed = popup.waitForEvent('close')
    await choose(popup, one)
    same(await told(page), JSON.stringify({ connection: '9130347957983546', company: one }), 'what the app is told')
    await closed
  },

  async 'messages of somebody else\'s' (v) {
    const { page, popup } = await begin(v)
    await popup.getByRole('button', { name: 'No thanks' }).waitFor()
    const forged = { source: 'freshbearer', connection: '1', company: 'Evil' }
    // From the app's own window, from another window of the proxy's, and from
    // another origin in the popup.
    await page.evaluate(m => postMessage(m, '*'), forged)
    const [other] = await Promise.all([page.waitForEvent('popup'), page.evaluate(url => { open(url) }, task.proxy + '/oauth/launch')])
    await other.waitForLoadState()
    await other.evaluate(m => opener.postMessage(m, '*'), forged)
    await popup.evaluate(m => opener.postMessage(m, '*'), forged)
    await page.evaluate(() => new Promise(resolve => setTimeout(resolve)))
    same(await page.locator('#told').innerText(), '', 'what the app believes')
    await choose(popup, one)
    must((await told(page)).includes(one), 'the app is told nothing')
  },

  async 'link without an address to return to' (v) {
    const page = await v.open()
    await page.goto(`${back}&link=${encodeURIComponent(await link())}`)
    const [popup] = await Promise.all([page.waitForEvent('popup'), page.getByRole('button', { name: 'Connect' }).click()])
    await choose(popup, one)
    await popup.getByText(`${one} is connected.`).waitFor()
    same(await popup.locator('script').count(), 0, 'the number of scripts on the last page')
    same(await page.locator('#told').innerText(), '', 'what an app is told that nobody has allowed')
  }
}

await intuit('behaviour', { consent: 'page' })
await main(flows, [task.proxy, task.intuit, task.app, task.cut, task.cutIntuit, new URL(task.cutAuthorize).origin])
server.close()
