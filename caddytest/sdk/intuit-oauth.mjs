// Copyright 2026 The freshbearer authors
// SPDX-License-Identifier: Apache-2.0

import { main } from './common.mjs'

await main((task, origin) => {
  const OAuthClient = task.require('intuit-oauth')
  const client = new OAuthClient({
    clientId: 'unused',
    clientSecret: 'unused',
    environment: 'production',
    redirectUri: 'https://app.example.com/unused',
    // The access token is the proxy key. makeApiCall looks at nothing else.
    token: { access_token: task.key, token_type: 'bearer' }
  })
  const company = `${origin}/v3/company/${task.realm}`

  const call = async (path, options = {}) => {
    const answer = await client.makeApiCall({ url: company + path, ...options })
    if (answer.json === null) throw new Error(`the answer is no JSON: ${answer.body}`)
    return answer.json
  }
  return {
    companyInfo: async () => (await call(`/companyinfo/${task.realm}`)).CompanyInfo,
    query: async text => (await call('/query', { params: { query: text, minorversion: 75 } })).QueryResponse.query,
    create: async customer => (await call('/customer', { method: 'POST', body: customer })).Customer,
    read: async id => (await call(`/customer/${id}`)).Customer,
    upload: async (name, content) => {
      const form = new FormData()
      form.append('file_content_01', new Blob([content], { type: 'application/pdf' }), name)
      // The client always sets a Content-Type, so the form is encoded here.
      const encoded = new Response(form)
      const answer = await call('/upload', {
        method: 'POST',
        headers: { 'Content-Type': encoded.headers.get('Content-Type') },
        body: Buffer.from(await encoded.arrayBuffer())
      })
      return answer.AttachableResponse[0].Attachable
    }
  }
})
