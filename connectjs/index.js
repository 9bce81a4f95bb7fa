import './connect.js'

export const { connect, returned } = globalThis.freshbearer
