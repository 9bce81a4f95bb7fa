// Copyright 2026 The freshbearer authors
// SPDX-License-Identifier: Apache-2.0

// The operator's pages. Told further: companies [{realm, name}], of which the
// last is not connected, and payroll, the key of the caller that the last but
// one belongs to.

import { api, choose, eventually, intuit, main, must, same, task } from './common.mjs'

const { companies } = task
const status = task.proxy + '/status/'
const get = (c, key = task.key) => api(`/v3/company/${c.realm}/companyinfo/${c.realm}`, { key })
const operator = { httpCredentials: { username: 'operator', password: 'operator', origin: task.proxy, send: 'always' } }

const row = (page, c) => page.getByRole('row').filter({ hasText: c.realm })
const button = (at, name) => at.getByRole('button', { name })
const rows = page => page.locator('table.connections tbody tr').count()
const outcome = page => page.getByRole('status').innerText()

// What an operator would find on a bad day: a company in every state.
const [alive, dead, suspect, gone, pending] = companies
await intuit(`kill-grant?realm=${dead.realm}`)
await eventually('a 503', async () => (await get(dead)).status === 503)
// One refusal is believed when others are accepted.
for (const c of companies.slice(5, 9)) await api(`/oauth/connections/${c.realm}/refresh`, { method: 'POST' })
await eventually('a 428', async () => (await get(dead)).status === 428)
await intuit(`kill-grant?realm=${suspect.realm}`)
await eventually('a 503', async () => (await get(suspect)).status === 503)
await api(`/oauth/connections/${gone.realm}`, { method: 'DELETE' })
await intuit('faults', { endpoint: 'revoke', kind: 'unavailable', times: -1 })
await api(`/oauth/connections/${pending.realm}`, { method: 'DELETE' })
await intuit('DELETE faults')

const flows = {
  async 'the list' (v) {
    const page = await v.open(operator)
    await page.goto(status)
    await v.examine(page, 'status', {
      words: [...companies.slice(0, -1).map(c => c.name), 'needs reconnect', 'suspect', 'revocation pending', 'has an incident', 'operator'],
      not: [companies.at(-1).name]
    })
    same(await rows(page), companies.length - 1, 'the number of rows')
  },

  async 'search and filter' (v) {
    const page = await v.open(operator)
    await page.goto(status)
    await page.getByRole('searchbox').fill('BAKERY')
    await page.keyboard.press('Enter')
    await page.waitForURL('**text=BAKERY*')
    same(await rows(page), 1, 'the number of rows')
    await v.examine(page, 'status-filtered', { words: ['Harbor Lane Bakery', '1–1 of 1'] })
    await page.getByRole('link', { name: 'Show all' }).click()
    same(await rows(page), companies.length - 1, 'the number of rows')
    await page.getByLabel('State').selectOption('needs_reauth')
    await button(page, 'Show').click()
    await page.waitForURL('**state=needs_reauth*')
    same(await rows(page), 1, 'the number of rows')
    must(await row(page, dead).isVisible(), 'the company that needs somebody is not listed')
    await page.getByRole('searchbox').fill('no such company')
    await page.keyboard.press('Enter')
    await page.getByText('No connection fits.').waitFor()
    await v.examine(page, 'status-none')
    await page.goto(status)
    await page.getByRole('link', { name: /disconnected/ }).first().click()
    same(await rows(page), 1, 'the number of rows')
    must(await row(page, gone).isVisible(), 'the company that was disconnected is not listed')
  },

  async 'details and buttons' (v) {
    const page = await v.open(operator)
    await page.goto(status + '?text=Sandbox')
    await page.getByRole('link', { name: alive.name, exact: true }).click()
    await v.examine(page, 'status-connection', { words: ['Facts', 'History', alive.realm] })
    const before = (await api(`/oauth/connections/${alive.realm}`)).refreshed_at
    await button(page, 'Refresh').click()
    await page.waitForURL('**outcome=*')
    must((await outcome(page)).includes('Refreshed.'), `refreshing came to: ${await outcome(page)}`)
    must((await api(`/oauth/connections/${alive.realm}`)).refreshed_at !== before, 'nothing was refreshed')
    await v.examine(page, 'status-outcome', { words: ['has a fresh access token'] })
    await page.getByRole('link', { name: 'All connections' }).click()
    same(new URL(page.url()).search, '?text=Sandbox', 'the list that the operator came from')
    await page.goto(`${status}?state=needs_reauth`)
    await button(row(page, dead), 'Check again').click()
    await page.waitForURL('**outcome=*')
    must((await outcome(page)).includes('Refused.'), `checking came to: ${await outcome(page)}`)
    await page.getByRole('link', { name: dead.name, exact: true }).first().click()
    await v.examine(page, 'status-connection-lost', { words: ['needs reconnect', 'invalid_grant'] })
    // The address alone says nothing, whoever passes it on.
    const stranger = await v.open(operator)
    await stranger.goto(`${status}?outcome=refreshed&of_integration=quickbooks&of=${alive.realm}&proof=x`)
    same(await stranger.getByRole('status').count(), 0, 'the number of outcomes of a made-up address')
  },

  async 'connect and reconnect' (v) {
    const page = await v.open(operator)
    await page.goto(status)
    const card = page.getByRole('region', { name: /^quickbooks/ })
    await card.getByLabel('for').selectOption('payroll')
    await button(card, 'Connect a company').click()
    await v.examine(page, 'status-link', { words: ['Connect a company', 'payroll', 'Valid until'] })
    await page.getByRole('link', { name: 'Open the link' }).click()
    await page.getByRole('link', { name: 'Connect to QuickBooks' }).click()
    await choose(page, companies.at(-1).name)
    await page.getByText(`${companies.at(-1).name} is connected.`).waitFor()
    same((await get(companies.at(-1), task.payroll)).status, 200, 'the status of a request of the new owner')
    await page.goto(status)
    await button(row(page, dead), 'Reconnect').click()
    await v.examine(page, 'status-link-company', { words: ['any other is refused'] })
    await page.getByRole('link', { name: 'Open the link' }).click()
    await page.getByRole('link', { name: 'Reconnect to QuickBooks' }).click()
    await choose(page, dead.name)
    await page.getByText(`${dead.name} is connected.`).waitFor()
  },

  async disconnect (v) {
    const page = await v.open(operator)
    await page.goto(status)
    await row(page, dead).getByRole('link', { name: 'Disconnect' }).click()
    await v.examine(page, 'status-disconnect', { words: [`Disconnect ${dead.name}?`, 'cannot be undone'] })
    await page.getByRole('link', { name: 'Keep it' }).click()
    same((await get(dead)).status, 200, 'the status of what was kept')
    await page.getByRole('link', { name: 'Disconnect' }).click()
    const stranger = await v.open(operator)
    await stranger.goto(page.url())
    await stranger.context().clearCookies()
    await button(stranger, `Disconnect ${dead.name}`).click()
    await v.examine(stranger, 'status-forged', { status: 403, words: ['Nothing was done'] })
    await button(page, `Disconnect ${dead.name}`).click()
    await page.waitForURL('**outcome=*')
    must((await outcome(page)).includes('Disconnected.'), `disconnecting came to: ${await outcome(page)}`)
    same((await get(dead)).cause, 'disconnected', 'the cause')
    await page.goto(status + 'nothing')
    await v.examine(page, 'status-not-found', { status: 404 })
    const nobody = await v.open()
    await nobody.goto(task.proxy + '/open/')
    await v.examine(nobody, 'status-forbidden', { status: 403, words: ['Not for everybody'] })
  },

  async 'keyboard alone, without JavaScript' (v) {
    const page = await v.open({ ...operator, javaScriptEnabled: false })
    await page.goto(status + '?text=Sandbox')
    await page.keyboard.press('Tab')
    await page.keyboard.press('Enter')
    for (let i = 0; i < 30 && !(await page.evaluate(() => document.activeElement.innerText))?.startsWith('Disconnect'); i++) {
      await page.keyboard.press('Tab')
      const seen = await page.evaluate(() => {
        const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement)
        return outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2 ? '' : document.activeElement.outerHTML
      })
      same(seen, '', 'what has the focus unseen')
    }
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { name: `Disconnect ${alive.name}?` }).waitFor()
    await button(page, `Disconnect ${alive.name}`).focus()
    await page.keyboard.press('Enter')
    await page.getByText('Disconnected.', { exact: true }).waitFor()
  }
}

await main(flows, [task.proxy, task.intuit])
