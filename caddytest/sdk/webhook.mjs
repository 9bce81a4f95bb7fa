// Copyright 2026 The freshbearer authors
// SPDX-License-Identifier: Apache-2.0

// Verifies a notice as an app would: reads {secret, headers, body} and says
// what happened to which company, or that it was refused.

import { Webhook } from 'standardwebhooks'
import { text } from 'node:stream/consumers'

const { secret, headers, body } = JSON.parse(await text(process.stdin))
try {
  const { type, data } = new Webhook(secret).verify(body, headers)
  console.log(type, data.connection)
} catch {
  console.log('refused')
}
