// Copyright 2026 The freshbearer authors
// SPDX-License-Identifier: Apache-2.0

// Every page of the browser's side, in every state that a human can bring
// about. Told further: realmOne, realmTwo, otherKey (of a caller that has no
// company yet), and brief, a proxy whose links end after a second.

import { api, choose, eventually, intuit, link, main, must, same, task } from './common.mjs'

const { realmOne, realmTwo } = task
const one = 'Sandbox Company US 1'
const two = 'Craig\'s Design'
const other = { key: task.otherKey }

const press = (page, name) => page.getByRole('link', { name, exact: true }).click()
const works = async (realm, at) => (await api(`/v3/company/${realm}/companyinfo/${realm}`, at)).status === 200
const at = page => new URL(page.url()).pathname

// connect goes all the way from a link to the last page.
async function connect (page, url, company = one, button) {
  await page.goto(url)
  await page.locator('a.brand').click()
  await choose(page, company, button)
  await page.waitForURL('**/oauth/done?*')
}

// dead waits until the proxy says that a company must be connected again.
const dead = realm => eventually('a 428', async () => {
  const answer = await api(`/v3/company/${realm}/companyinfo/${realm}`)
  return answer.status === 428 && answer
})

const brief = await link({}, { proxy: task.brief })

const flows = {
  async connect (v) {
    const page = await v.open()
    await page.goto(await link())
    await v.examine(page, 'connect', { words: ['Acme Billing asks', 'What happens next'] })
    await press(page, 'Connect to QuickBooks')
    must(page.url().startsWith(task.intuit), `the button leads to ${page.url()}`)
    await choose(page, one)
    await page.waitForURL('**/oauth/done?*')
    await v.examine(page, 'connected', { words: [`${one} is connected.`] })
    must(await works(realmOne), 'the company was not connected')
  },

  async 'replayed callback' (v) {
    const page = await v.open()
    let callback
    page.on('request', r => { if (new URL(r.url()).pathname === '/oauth/callback') callback = r.url() })
    await connect(page, await link())
    const first = await page.locator('main').innerText()
    await page.goto(callback)
    same(await page.locator('main').innerText(), first, 'the page after the same callback')
    const stranger = await v.open()
    await stranger.goto(callback)
    await v.examine(stranger, 'already-used', { status: 410, words: ['Already used'], not: [one, 'is connected.'] })
    const forged = new URL(callback)
    forged.searchParams.set('state', 'A'.repeat(43))
    await page.goto(forged.href)
    await v.examine(page, 'state-unknown', { status: 400, words: ['was not started in this browser'] })
    must(await works(realmOne), 'the replay ended the connection')
  },

  async deny (v) {
    const page = await v.open()
    await connect(page, await link(), undefined, 'No thanks')
    await v.examine(page, 'denied', { words: ['Not connected to QuickBooks', 'was not allowed', 'Who can repair it'] })
    await press(page, 'Try again')
    same(at(page), '/oauth/connect', 'where Try again leads to')
    await press(page, 'Connect to QuickBooks')
    await choose(page, one)
    await page.getByText(`${one} is connected.`).waitFor()
  },

  async 'a scope that is not allowed' (v) {
    await intuit('behaviour', { consent: 'invalid_scope' })
    const page = await v.open()
    await page.goto(await link())
    await press(page, 'Connect to QuickBooks')
    await page.waitForURL('**/oauth/done?*')
    await intuit('behaviour', { consent: 'page' })
    await v.examine(page, 'scope-refused', { status: 502, words: ['Who can repair it'] })
  },

  async 'a code that is refused' (v) {
    const page = await v.open()
    await intuit('faults', { endpoint: 'token', kind: 'invalid_grant', times: 2 })
    await connect(page, await link())
    await intuit('DELETE faults')
    await page.getByText('Technical details').click()
    await v.examine(page, 'code-refused-unclear', { status: 502, words: ['refused the code', 'intuit_tid'] })
    await intuit('behaviour', { code_ttl: 1e-9 })
    await connect(page, await link())
    await intuit('behaviour', { code_ttl: 0 })
    await v.examine(page, 'code-refused', { status: 502, words: ['The code was too old.'] })
  },

  async 'a provider that does not answer' (v) {
    const page = await v.open()
    await intuit('faults', { endpoint: 'token', kind: 'unavailable', times: -1 })
    await connect(page, await link())
    await intuit('DELETE faults')
    await v.examine(page, 'unavailable', { status: 503, words: ['did not answer'] })
  },

  async 'another company on a reconnect' (v) {
    const page = await v.open()
    await connect(page, await link({ connection: realmOne }), two)
    await v.examine(page, 'other-company', { status: 409, words: ['Another company was chosen', 'unchanged'] })
    must(await works(realmOne) && !await works(realmTwo), 'the wrong company works')
    await press(page, 'Try again')
    await press(page, 'Reconnect to QuickBooks')
    await choose(page, one)
    await page.getByText(`${one} is connected.`).waitFor()
  },

  async 'a company of another caller' (v) {
    const page = await v.open()
    await connect(page, await link({}, other))
    await v.examine(page, 'owned', { status: 409, words: ['already connected to another app here'] })
    must(await works(realmOne) && !await works(realmOne, other), 'the company changed hands')
  },

  async 'a first connection of one company' (v) {
    const page = await v.open()
    await page.goto(await link({ connection: realmTwo }))
    await v.examine(page, 'connect-one', { words: [realmTwo, 'No other will be connected.'] })
  },

  async 'expired and broken links' (v) {
    const page = await v.open()
    const answer = await eventually('the end of a link', async () => {
      const answer = await page.goto(brief)
      return answer.status() === 410 && answer
    })
    same(answer.headers()['set-cookie'], undefined, 'the cookie of an expired link')
    await v.examine(page, 'link-expired', { status: 410, words: ['This link has expired.'] })
    const good = await link()
    await page.goto(good.slice(0, -5))
    await v.examine(page, 'link-invalid', { status: 400, words: ['not made by this proxy'] })
  },

  async 'reconnect from a 428' (v) {
    await intuit(`kill-grant?realm=${realmOne}`)
    const { reauth_url: url } = await dead(realmOne)
    const reader = await v.open({ extraHTTPHeaders: { Authorization: `Bearer ${task.key}` } })
    await reader.goto(`${task.proxy}/v3/company/${realmOne}/companyinfo/${realmOne}`)
    await v.examine(reader, 'reauthorization-required', { status: 428, words: ['Reauthorization required'] })
    await press(reader, 'Connect again')
    same(at(reader), '/oauth/connect', 'where the page leads to')
    const page = await v.open()
    await page.goto(url)
    await v.examine(page, 'reconnect', { words: [`cannot reach ${one}`, 'Since', 'Why'] })
    await press(page, 'Reconnect to QuickBooks')
    await choose(page, one)
    await page.getByText(`${one} is connected.`).waitFor()
    must(await works(realmOne), 'the company was not reconnected')
    await page.goto(url)
    await page.getByText('There is nothing to repair.').waitFor()
  },

  async 'addresses for Intuit' (v) {
    const page = await v.open()
    await page.goto(`${task.proxy}/oauth/launch`)
    await v.examine(page, 'launch', { words: ['Acme Billing'] })
    await page.goto(`${task.proxy}/oauth/reconnect`)
    await v.examine(page, 'reconnect-landing-empty', { status: 400, words: ['does not say which company'] })
    await page.goto(`${task.proxy}/oauth/disconnected?realmId=${realmOne}`)
    await v.examine(page, 'disconnected-landing', { words: ['You have ended the access'] })
    await press(page, 'That was a mistake: reconnect')
    await v.examine(page, 'reconnect-landing', { words: [realmOne], not: [one] })
    await press(page, 'Reconnect to QuickBooks')
    await choose(page, one)
    await page.getByText(`${one} is connected.`).waitFor()
    await page.goto(`${task.proxy}/oauth/reconnect?realmId=${realmTwo}`)
    await press(page, 'Reconnect to QuickBooks')
    await choose(page, two)
    await page.waitForURL('**/oauth/done?*')
    await v.examine(page, 'not-connected', { status: 404, words: ['This company is not connected here.'] })
  },

  async disconnect (v) {
    const page = await v.open()
    const url = await link({ connection: realmOne, purpose: 'disconnect' })
    const stranger = await v.open()
    await stranger.goto(url)
    await stranger.context().clearCookies()
    await stranger.getByRole('button', { name: `Disconnect ${one}` }).click()
    await v.examine(stranger, 'form-refused', { status: 403 })
    must(await works(realmOne), 'a form without its cookie has disconnected')
    await page.goto(url)
    await v.examine(page, 'disconnect', { words: ['Disconnect from QuickBooks', `lose its access to ${one}`] })
    await page.getByRole('button', { name: `Disconnect ${one}` }).click()
    await page.waitForURL('**/oauth/done?*')
    await v.examine(page, 'disconnected', { words: [`${one} is disconnected.`, 'has confirmed'] })
    same((await dead(realmOne)).cause, 'disconnected', 'the cause')
    await page.goto(url)
    await page.getByText(`${one} is disconnected.`).waitFor()
    await connect(page, (await dead(realmOne)).reauth_url)
    must(await works(realmOne), 'the company was not reconnected')
  },

  async 'disconnect that cannot be proven' (v) {
    const page = await v.open()
    await intuit('faults', { endpoint: 'revoke', kind: 'unavailable', times: -1 })
    await page.goto(await link({ connection: realmOne, purpose: 'disconnect' }))
    await page.getByRole('button', { name: `Disconnect ${one}` }).click()
    await page.waitForURL('**/oauth/done?*')
    await v.examine(page, 'disconnect-unconfirmed', { words: ['Not confirmed yet', 'is no longer used here'], not: ['is disconnected', 'Disconnected'] })
    same((await api(`/oauth/connections/${realmOne}`)).state, 'revoke_pending', 'the state')
    await intuit('DELETE faults')
    await connect(page, await link({ connection: realmOne }))
    must(await works(realmOne), 'the company was not reconnected')
  },

  async 'what is not there' (v) {
    const page = await v.open()
    await page.goto(`${task.proxy}/oauth/nothing`)
    await v.examine(page, 'not-found', { status: 404 })
    await page.goto(`${task.proxy}/v3/company/${realmOne}/companyinfo/${realmOne}`)
    await v.examine(page, 'invalid-proxy-key', { status: 401, words: ['proxy key'] })
  },

  async 'connect without JavaScript' (v) {
    const page = await v.open({ javaScriptEnabled: false })
    await connect(page, await link())
    await page.getByText(`${one} is connected.`).waitFor()
  },

  async 'disconnect without JavaScript' (v) {
    const page = await v.open({ javaScriptEnabled: false })
    await page.goto(await link({ connection: realmOne, purpose: 'disconnect' }))
    await page.getByRole('button', { name: `Disconnect ${one}` }).click()
    await page.getByText(`${one} is disconnected.`).waitFor()
  },

  async 'reconnect without JavaScript' (v) {
    const page = await v.open({ javaScriptEnabled: false })
    await connect(page, (await dead(realmOne)).reauth_url)
    await page.getByText(`${one} is connected.`).waitFor()
    must(await works(realmOne), 'the company was not reconnected')
  },

  async 'keyboard alone' (v) {
    const page = await v.open()
    await page.goto(await link({ connection: realmOne }))
    await v.focused(page, 'Reconnect to QuickBooks', 'Not now', 'Technical details')
    await page.keyboard.press('Enter')
    must(await page.locator('details').getAttribute('open') !== null, 'the details do not open')
    await page.keyboard.press('Shift+Tab')
    await page.keyboard.press('Shift+Tab')
    await page.keyboard.press('Enter')
    await page.waitForURL(task.intuit + '/**')
    await page.keyboard.press('Tab')
    await page.keyboard.press('Tab')
    await page.keyboard.press('Enter')
    await page.waitForURL('**/oauth/done?*')
    await page.getByText(`${one} is connected.`).waitFor()
    await v.focused(page, 'Back to the app')
    await page.goto(await link({ connection: realmOne, purpose: 'disconnect' }))
    await v.focused(page, `Disconnect ${one}`, 'Keep it connected', 'Technical details')
    await page.keyboard.press('Shift+Tab')
    await page.keyboard.press('Shift+Tab')
    await page.keyboard.press('Enter')
    await page.getByText(`${one} is disconnected.`).waitFor()
  }
}

await main(flows, [task.proxy, task.brief, task.intuit])
