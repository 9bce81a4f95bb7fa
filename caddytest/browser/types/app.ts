// Copyright 2026 The freshbearer authors
// SPDX-License-Identifier: Apache-2.0

// What an app may write with @freshbearer/connect, and what it may not: tsc
// complains of every line below an expectation that is right.

import { connect, returned, type Connected, type ConnectError } from '@freshbearer/connect'

export async function press (url: string): Promise<string> {
  try {
    const made: Connected = await connect(url)
    const { connection, company } = made
    // @ts-expect-error a company may have no name
    company.toUpperCase()
    return company ?? connection
  } catch (e) {
    return (e as ConnectError).code.toLowerCase()
  }
}

export async function load (): Promise<string> {
  const back = await returned()
  // @ts-expect-error the browser may not have come from there
  back.connection.trim()
  return back === null ? '' : back.connection
}

// @ts-expect-error the address is needed
connect()
// @ts-expect-error it is a text
connect(new URL('https://qb.example.com/oauth/connect?link=x'))
// @ts-expect-error it takes no options
returned({})
// @ts-expect-error it is a promise
connect('https://qb.example.com/oauth/connect?link=x').connection
// @ts-expect-error there is no token in it
press('').then(async () => (await connect('')).access_token)
