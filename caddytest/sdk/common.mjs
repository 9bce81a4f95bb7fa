// Copyright 2026 The freshbearer authors
// SPDX-License-Identifier: Apache-2.0

// What the drivers of both clients share: the plan of calls, and the counting
// of what failed.
//
// A driver is told, as JSON on its standard input:
//
//	modules  the directory that npm installed into
//	key      the proxy key
//	realm    the company
//	seconds  how long each habit is kept busy
//	proxies  [{"habit", "origin"}]: a proxy for each rotation habit
//
// and answers with JSON on its standard output: a Report for each habit.

import { createHash, randomBytes } from 'node:crypto'
import { createRequire } from 'node:module'
import { setTimeout as pause } from 'node:timers/promises'

export async function readTask () {
  let text = ''
  for await (const chunk of process.stdin) text += chunk
  const task = JSON.parse(text)
  return { ...task, require: createRequire(task.modules + '/index.js') }
}

// Everything that a query, a JSON body and a path could trip over.
export const awkwardName = 'O\'Brien & Söhne 100% #1; "漢字" \\ + 🎉 =<>?'
export const awkwardQuery = "select * from customer where DisplayName = 'O''Brien & Söhne 100% #1;' and Notes = '漢字 + 🎉 <>?'"

const uploadSize = 5 * 1024 * 1024

class Report {
  constructor (habit) {
    Object.assign(this, { habit, calls: 0, creates: 0, uploads: 0, failures: 0, examples: [] })
  }

  fail (what, error) {
    this.failures++
    if (this.examples.length < 3) this.examples.push(`${what}: ${error?.message ?? error}`)
  }

  async call (what, fn, check) {
    this.calls++
    try {
      const result = await fn()
      const wrong = check?.(result)
      if (wrong) throw new Error(wrong)
      return result
    } catch (error) {
      this.fail(what, error)
    }
  }
}

const same = (what, got, want) => got === want ? '' : `${what} is ${JSON.stringify(got)}, not ${JSON.stringify(want)}`

// drive keeps one proxy busy. api is the client under test:
//
//	companyInfo()           the CompanyInfo
//	query(text)             the text that the API says it got
//	create(customer)        the created Customer
//	read(id)                the Customer
//	upload(name, content)   the Attachable
async function drive (habit, api, seconds) {
  const report = new Report(habit)
  const until = Date.now() + 1000 * seconds

  const readCompany = () => report.call('companyinfo', () => api.companyInfo(),
    info => same('CompanyName', info?.CompanyName, 'Sandbox Company US 1'))
  const query = () => report.call('query', () => api.query(awkwardQuery),
    got => same('the query', got, awkwardQuery))
  const create = async () => {
    const customer = { DisplayName: `${awkwardName} ${report.creates}`, DocNumber: `${habit}-${report.creates++}` }
    const made = await report.call('create', () => api.create(customer),
      got => same('DisplayName', got?.DisplayName, customer.DisplayName))
    if (!made) return
    await report.call('read back', () => api.read(made.Id),
      got => same('DisplayName', got?.DisplayName, customer.DisplayName))
  }
  const upload = async () => {
    const content = randomBytes(uploadSize)
    const digest = createHash('sha256').update(content).digest('hex')
    report.uploads++
    await report.call('upload', () => api.upload(`statement ${report.uploads}.pdf`, content),
      got => same('Size', got?.Size, uploadSize) || same('sha256', got?.sha256, digest))
  }

  await readCompany()
  await query()
  await create()
  await upload()
  await Promise.all(Array.from({ length: 50 }, (_, i) => i % 2 ? readCompany() : create()))

  // Several expiries pass from here on, whatever the calls do at that moment.
  const worker = async (...steps) => {
    for (let i = 0; Date.now() < until; i++) {
      await steps[i % steps.length]()
      await pause(15)
    }
  }
  await Promise.all([
    worker(readCompany),
    worker(create, query),
    (async () => {
      await pause(500 * seconds)
      await upload()
    })()
  ])
  return report
}

// main runs the client that connect makes for each proxy, all at once.
export async function main (connect) {
  const task = await readTask()
  const reports = await Promise.all(task.proxies.map(
    ({ habit, origin }) => drive(habit, connect(task, origin), task.seconds)))
  console.log(JSON.stringify(reports))
}
