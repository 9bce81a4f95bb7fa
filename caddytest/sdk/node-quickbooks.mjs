// Copyright 2026 The freshbearer authors
// SPDX-License-Identifier: Apache-2.0

import { promisify } from 'node:util'
import { main } from './common.mjs'

await main((task, origin) => {
  const QuickBooks = task.require('node-quickbooks')
  // The app's own settings: the access token is the proxy key, and the
  // endpoint is the proxy. No refresh token is needed.
  const qbo = new QuickBooks('unused', 'unused', task.key, false, task.realm, true, false, 75, '2.0')
  qbo.endpoint = `${origin}/v3/company/`

  const call = (name, ...args) => promisify(qbo[name].bind(qbo))(...args).catch(error => {
    const body = error.response?.data ?? error
    throw new Error(`${error.message}: ${JSON.stringify(body).slice(0, 300)}`)
  })
  return {
    companyInfo: () => call('getCompanyInfo', task.realm),
    query: async text => (await call('findCustomers', text.replace('select * from customer ', ''))).QueryResponse.query,
    create: customer => call('createCustomer', { ...customer }),
    read: id => call('getCustomer', id),
    upload: (name, content) => call('upload', name, 'application/pdf', content)
  }
})
