// Copyright 2026 The freshbearer authors
// SPDX-License-Identifier: Apache-2.0

// The example app. Told further: server, its file; app, the origin that it is
// to have; realmOne and realmTwo.

import { spawn } from 'node:child_process'

import { api, choose, eventually, intuit, link, main, must, same, task } from './common.mjs'

const one = 'Sandbox Company US 1'
const two = 'Craig\'s Design and Landscaping'

const server = spawn(process.execPath, [task.server], {
  env: { ...process.env, FRESHBEARER_URL: task.proxy, FRESHBEARER_KEY: task.key, APP_URL: task.app },
  stdio: ['ignore', 'pipe', 'inherit']
})
await new Promise((resolve, reject) => {
  server.stdout.once('data', resolve)
  server.once('exit', code => reject(new Error(`the example app ends with ${code}`)))
})

const press = (page, name) => page.getByRole('button', { name, exact: true }).click()
const shown = async page => (await page.locator('#company').innerText())

const flows = {
  async 'connect, lose and reconnect' (v) {
    const page = await v.open()
    await page.goto(task.app)
    await v.examine(page, 'example', { words: ['Connect to QuickBooks'] })
    const [refused] = await Promise.all([page.waitForEvent('popup'), press(page, 'Connect to QuickBooks')])
    await choose(refused, undefined, 'No thanks')
    await page.getByText('was not allowed').waitFor()
    await v.examine(page, 'example-denied', { words: ['The connection was not allowed.'] })
    const [popup] = await Promise.all([page.waitForEvent('popup'), press(page, 'Connect to QuickBooks')])
    await choose(popup, one)
    same(await shown(page), one, 'the company')
    await eventually('a clean address', () => page.url() === task.app + '/')
    await v.examine(page, 'example-connected', { words: [`Connected to ${one}.`] })
    await intuit(`kill-grant?realm=${task.realmOne}`)
    await eventually('a 428', async () => (await api(`/v3/company/${task.realmOne}/companyinfo/${task.realmOne}`)).status === 428)
    await page.goto(task.app)
    await v.examine(page, 'example-lost', { words: ['has ended'] })
    const [again] = await Promise.all([page.waitForEvent('popup'), press(page, 'Reconnect to QuickBooks')])
    await choose(again, one)
    same(await shown(page), one, 'the company')
    await press(page, 'Disconnect')
    await press(page, `Disconnect ${one}`)
    await page.getByRole('link', { name: 'Back to the app' }).click()
    await page.getByRole('button', { name: 'Connect to QuickBooks' }).waitFor()
  },

  async 'without JavaScript' (v) {
    const page = await v.open({ javaScriptEnabled: false })
    await page.goto(task.app)
    await press(page, 'Connect to QuickBooks')
    await choose(page, undefined, 'No thanks')
    await page.getByRole('link', { name: 'Back to the app' }).click()
    await page.getByText('You did not allow it.').waitFor()
    await press(page, 'Connect to QuickBooks')
    await choose(page, one)
    await page.getByRole('link', { name: 'Back to the app' }).click()
    same(await shown(page), one, 'the company')
    await press(page, 'Disconnect')
    await press(page, `Disconnect ${one}`)
    await page.getByRole('link', { name: 'Back to the app' }).click()
    await page.getByRole('button', { name: 'Connect to QuickBooks' }).waitFor()
  },

  async 'an address that somebody made up' (v) {
    // Another user's company, which the same key may use.
    const other = await v.open()
    await other.goto(await link() + '&start=1')
    await choose(other, two)
    await other.getByText(`${two} is connected.`).waitFor()
    const connected = Date.parse((await api(`/oauth/connections/${task.realmTwo}`)).connected_at)
    await eventually('the next second', () => Math.floor(Date.now() / 1000) > Math.floor(connected / 1000))
    const page = await v.open()
    await page.goto(`${task.app}/?freshbearer_connection=${task.realmTwo}`)
    must(await page.getByRole('button', { name: 'Connect to QuickBooks' }).isVisible(), 'the app believes its address')
    // With a user on the way, a company is believed that was connected since,
    // and no other.
    const [popup] = await Promise.all([page.waitForEvent('popup'), press(page, 'Connect to QuickBooks')])
    await popup.close()
    await page.getByText('The window was closed.').waitFor()
    await page.goto(`${task.app}/?freshbearer_connection=${task.realmTwo}`)
    must(await page.getByRole('button', { name: 'Connect to QuickBooks' }).isVisible(), 'the app believes its address')
  },

  async 'keyboard alone' (v) {
    const page = await v.open()
    await page.goto(task.app)
    await v.focused(page, 'Connect to QuickBooks')
    const [popup] = await Promise.all([page.waitForEvent('popup'), page.keyboard.press('Enter')])
    await choose(popup, undefined, 'No thanks')
    await page.getByText('was not allowed').waitFor()
    await page.goto(await link())
    await page.getByRole('link', { name: 'Not now' }).click()
    await page.waitForURL(task.app + '/')
  }
}

try {
  await main(flows, [task.proxy, task.intuit, task.app])
} finally {
  server.kill()
}
