// Copyright 2026 The freshbearer authors
// SPDX-License-Identifier: Apache-2.0

// What the drivers share: one Chromium, and eyes that see everything a page
// does.
//
// A driver is told, as JSON on its standard input:
//
//	modules      the directory that npm installed into
//	chromium     the program
//	proxy, key   the proxy's origin, and a key of it
//	intuit       the simulated Intuit
//	screenshots  the directory to write pictures to, or nothing
//
// and what else it needs. It answers with JSON on its standard output:
// [{"flow", "problems", "pages"}], see visit in browser_test.go.

import { createRequire } from 'node:module'
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const flags = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--hide-scrollbars',
  // Whatever asks for another host gets no answer.
  '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1'
]

const themes = ['light', 'dark']
const widths = [1280, 390]

// What the validator is not asked for: how HTML is written. What it means, it
// is asked for.
const style = { 'void-style': 'off', 'no-trailing-whitespace': 'off', 'attribute-boolean-style': 'off', 'long-title': 'off', 'no-inline-style': 'error', 'require-sri': 'off' }

export const task = JSON.parse(await new Response(process.stdin).text())
const require = createRequire(task.modules + '/index.js')
const { chromium } = require('playwright-core')
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8')
const { HtmlValidate, StaticConfigLoader } = require('html-validate')
const validator = new HtmlValidate(new StaticConfigLoader({ root: true, extends: ['html-validate:recommended', 'html-validate:document'], rules: style }))

export function must (ok, words) {
  if (!ok) throw new Error(words)
}

export function same (got, want, what) {
  must(got === want, `${what} is ${JSON.stringify(got)}, not ${JSON.stringify(want)}`)
}

// eventually tries until it is true, for ten seconds at most.
export async function eventually (what, test) {
  for (const end = Date.now() + 10000; Date.now() < end; await new Promise(resolve => setTimeout(resolve, 50))) {
    const value = await test()
    if (value) return value
  }
  throw new Error(`${what} does not come about`)
}

// api sends a request with a proxy key, and reads the JSON that comes back.
export async function api (path, { proxy = task.proxy, key = task.key, ...rest } = {}) {
  const answer = await fetch(proxy + path, { ...rest, headers: { Authorization: `Bearer ${key}`, Accept: 'application/json' } })
  return { ...await answer.json(), status: answer.status }
}

export async function link (request = {}, at = {}) {
  const made = await api('/oauth/links', { ...at, method: 'POST', body: JSON.stringify(request) })
  same(made.status, 201, 'the status of a link')
  return made.url
}

// intuit tells the simulated Intuit how to behave.
export async function intuit (path, body, server = task.intuit) {
  const method = path.startsWith('DELETE ') ? 'DELETE' : 'POST'
  const answer = await fetch(`${server}/control/${path.replace('DELETE ', '')}`, { method, body: body && JSON.stringify(body) })
  same(answer.status, 200, `the status of Intuit's ${path}: ${await answer.text()}`)
}

// choose is what a human does at Intuit.
export async function choose (page, company, button = 'Connect') {
  await page.getByRole('heading', { name: 'to QuickBooks' }).and(page.getByText('intuittest-client-id')).waitFor()
  if (company) await page.getByLabel(company).check()
  await page.getByRole('button', { name: button, exact: true }).click()
}

// Visitor is a browser of its own: a profile, and what happened in it.
class Visitor {
  constructor (browser, report, origins) {
    Object.assign(this, { browser, report, origins, documents: new Map() })
  }

  problem (words) {
    if (!this.report.problems.includes(words)) this.report.problems.push(words)
  }

  // open makes a window with an empty profile. Options are Playwright's.
  async open (options = {}) {
    const context = await this.browser.newContext({ viewport: { width: widths[0], height: 800 }, ...options })
    context.setDefaultTimeout(10000)
    context.on('page', page => this.watch(page))
    context.on('request', r => {
      const origin = new URL(r.url()).origin
      if (!this.origins.includes(origin)) this.problem(`a request goes to ${origin}`)
    })
    context.on('response', r => this.heard(r))
    return context.newPage()
  }

  watch (page) {
    page.on('console', m => {
      const [, status] = /^Failed to load resource: the server responded with a status of (\d+)/.exec(m.text()) ?? []
      const { url } = m.location()
      // The address that was gone to, whose status is looked at where the page
      // is; and what browsers ask for by themselves, at somebody else's.
      const expected = status && (this.documents.get(url)?.status === Number(status) || url.endsWith('/favicon.ico') && !this.ours(url))
      if (['error', 'warning'].includes(m.type()) && !expected) this.problem(`${page.url()} says on the console: ${m.text()}`)
    })
    page.on('pageerror', e => this.problem(`${page.url()} throws ${e.message}`))
  }

  heard (response) {
    const request = response.request()
    if (!request.isNavigationRequest()) return
    const body = response.status() < 300 || response.status() > 399 ? response.text().catch(() => '') : ''
    this.documents.set(response.url(), { status: response.status(), headers: response.headers(), body })
    if (!this.ours(response.url())) return
    const headers = response.headers()
    const wrong = (name, ok) => { if (!ok) this.problem(`${new URL(response.url()).pathname}: ${name} is ${headers[name.toLowerCase()]}`) }
    wrong('Cache-Control', headers['cache-control'] === 'no-store')
    // The operator's pages have forms that Caddy's admin API must know the
    // origin of.
    wrong('Referrer-Policy', ['no-referrer', 'same-origin'].includes(headers['referrer-policy']))
    if (!body) return
    const policy = headers['content-security-policy'] ?? ''
    wrong('Content-Security-Policy', policy.includes("default-src 'none'") && policy.includes("frame-ancestors 'none'") &&
      policy.includes("base-uri 'none'") && policy.includes("form-action 'self'") && !policy.includes('unsafe') && !policy.includes('*'))
    wrong('X-Content-Type-Options', headers['x-content-type-options'] === 'nosniff')
    wrong('X-Frame-Options', headers['x-frame-options'] === 'DENY')
    wrong('Content-Type', headers['content-type'] === 'text/html; charset=utf-8')
  }

  ours (url) {
    return [task.proxy, task.brief, task.cut].includes(new URL(url).origin)
  }

  // examine looks at the page in both themes and at both widths.
  async examine (page, name, { status = 200, words = [], not = [] } = {}) {
    await page.waitForLoadState()
    this.report.pages.push(name)
    const wrong = text => this.problem(`${name}: ${text}`)
    const address = new URL(page.url())
    address.hash = ''
    const got = this.documents.get(address.href)
    must(got, `${name}: nobody saw ${address.href} come`)
    if (got.status !== status) wrong(`status ${got.status}, not ${status}`)
    const html = await got.body
    const valid = await validator.validateString(html)
    for (const m of valid.results.flatMap(r => r.messages)) wrong(`HTML ${m.line}:${m.column}: ${m.message} (${m.ruleId})`)
    const text = await page.locator('body').innerText()
    for (const w of words) if (!text.includes(w)) wrong(`lacks ${JSON.stringify(w)}:\n${text}`)
    for (const w of not) if (text.includes(w)) wrong(`says ${JSON.stringify(w)}:\n${text}`)
    await page.evaluate(axe)
    for (const colorScheme of themes) {
      await page.emulateMedia({ colorScheme })
      for (const width of widths) {
        await page.setViewportSize({ width, height: 600 })
        const where = `${colorScheme}, ${width} px`
        const { wide, found } = await page.evaluate(async () => ({
          wide: document.documentElement.scrollWidth - innerWidth,
          found: (await globalThis.axe.run(document, { resultTypes: ['violations'], rules: { 'target-size': { enabled: true } } })).violations
        }))
        if (wide > 0) wrong(`${where}: ${wide} px too wide`)
        for (const v of found) wrong(`${where}: ${v.id}: ${v.help}: ${v.nodes.map(n => n.html + ' ' + n.failureSummary).join('; ')}`)
        if (task.screenshots) await this.picture(page, `${name}-${colorScheme}-${width}`)
      }
    }
    await page.emulateMedia({ colorScheme: null })
    await page.setViewportSize({ width: widths[0], height: 800 })
  }

  async picture (page, name) {
    mkdirSync(task.screenshots, { recursive: true })
    const height = await page.evaluate(() => Math.ceil(document.body.getBoundingClientRect().bottom + scrollY))
    const { width } = page.viewportSize()
    await page.screenshot({ path: join(task.screenshots, name + '.png'), fullPage: true, clip: { x: 0, y: 0, width, height }, animations: 'disabled', caret: 'hide' })
  }

  // focused expects that the Tab key leads to these elements, one after the
  // other, and that each can be seen to have the focus.
  async focused (page, ...names) {
    for (const name of names) {
      await page.keyboard.press('Tab')
      const [text, seen] = await page.evaluate(() => {
        const at = document.activeElement
        const { outlineStyle, outlineWidth, outlineColor } = getComputedStyle(at)
        return [at.innerText || at.name, outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2 && !outlineColor.endsWith(', 0)')]
      })
      same(text.trim(), name, 'what the Tab key leads to')
      must(seen, `${name}: that it has the focus cannot be seen`)
    }
  }
}

// main runs the flows, one after the other, and reports.
export async function main (flows, origins) {
  const browser = await chromium.launch({
    executablePath: task.chromium,
    args: flags,
    ignoreDefaultArgs: ['--disable-popup-blocking']
  })
  const reports = []
  try {
    for (const [flow, run] of Object.entries(flows)) {
      const report = { flow, problems: [], pages: [] }
      reports.push(report)
      const visitor = new Visitor(browser, report, origins)
      try {
        await run(visitor)
      } catch (error) {
        report.problems.push(error.stack)
      }
      await Promise.all(browser.contexts().map(c => c.close()))
    }
  } finally {
    await browser.close()
  }
  console.log(JSON.stringify(reports))
}
