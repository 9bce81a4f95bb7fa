// What an app team writes today: express, http-proxy-middleware, an agent that
// keeps connections, and a refresh by hand. Tokens are in memory only, the proxy
// key is compared, a refresh that fails fails its requests, and a 401 is passed on.
'use strict'

const http = require('node:http')
const https = require('node:https')
const { timingSafeEqual } = require('node:crypto')
const express = require('express')
const { createProxyMiddleware } = require('http-proxy-middleware')

const [address, api] = process.argv.slice(2)
const agent = new (api.startsWith('https:') ? https : http).Agent({ keepAlive: true, maxSockets: 512, maxFreeSockets: 512 })
const early = 10 * 60 * 1000

const tokens = new Map()
const refreshing = new Map()

async function refresh (company) {
  const response = await fetch(api + '/token', {
    method: 'POST',
    headers: { Authorization: 'Basic ' + btoa('client:secret'), 'Content-Type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token: tokens.get(company)?.refresh ?? 'first' })
  })
  if (!response.ok) throw new Error('the refresh failed: ' + response.status)
  const answer = await response.json()
  tokens.set(company, { access: answer.access_token, refresh: answer.refresh_token, expires: Date.now() + answer.expires_in * 1000 })
}

function refreshOnce (company) {
  let flight = refreshing.get(company)
  if (!flight) {
    flight = refresh(company).finally(() => refreshing.delete(company))
    refreshing.set(company, flight)
  }
  return flight
}

const expected = Buffer.from('Bearer ' + process.env.BENCH_KEY)
const app = express()
app.disable('x-powered-by')
app.use('/v3/company/:company', async (req, res, next) => {
  const key = Buffer.from(req.headers.authorization ?? '')
  if (key.length !== expected.length || !timingSafeEqual(key, expected)) return res.sendStatus(401)
  const company = req.params.company
  if (!(tokens.get(company)?.expires - early > Date.now())) await refreshOnce(company)
  req.headers.authorization = 'Bearer ' + tokens.get(company).access
  next()
})
app.use(createProxyMiddleware({ target: api, changeOrigin: true, agent }))

const [host, port] = address.split(':')
app.listen(Number(port), host)
