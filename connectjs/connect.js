/* freshbearer connect.js, Apache-2.0 */
(() => {
	const settle = ({ connection, company, error, message }, resolve, reject) => error
		? reject(Object.assign(new Error(message || error), { code: error }))
		: resolve({ connection, company })

	const connect = url => new Promise((resolve, reject) => {
		const start = url + '&start=1'
		const popup = open(start + '&popup=1', '', 'popup,width=640,height=800')
		if (!popup) return location.assign(start)
		const channel = new BroadcastChannel('freshbearer')
		let closed = 0
		const end = data => {
			clearInterval(timer)
			removeEventListener('message', heard)
			channel.close()
			settle(data, resolve, reject)
		}
		const heard = e => {
			if (e.source === popup && e.origin === new URL(url).origin && e.data?.source === 'freshbearer') end(e.data)
		}
		// popup.closed also if a page on the way has cut the windows apart.
		const timer = setInterval(() => {
			closed = popup.closed && document.hasFocus() ? closed + 1 : 0
			if (closed > 7) end({ error: 'window_closed' })
		}, 250)
		addEventListener('message', heard)
		channel.onmessage = e => {
			if (!popup.closed || !e.data?.freshbearer) return
			channel.postMessage({ heard: true })
			end(e.data.freshbearer)
		}
	})

	const address = new URL(location)
	const [connection, company, error] = ['connection', 'company', 'error'].map(name => {
		const value = address.searchParams.get('freshbearer_' + name)
		address.searchParams.delete('freshbearer_' + name)
		return value
	})
	const result = (connection || error) && { connection, company, error }
	if (result) {
		history.replaceState(history.state, '', address)
		const channel = new BroadcastChannel('freshbearer')
		channel.onmessage = e => e.data?.heard && close()
		channel.postMessage({ freshbearer: result })
	}

	// for the page that the browser came back to
	const returned = () => new Promise((resolve, reject) => result ? settle(result, resolve, reject) : resolve(null))

	globalThis.freshbearer = { connect, returned }
})()
