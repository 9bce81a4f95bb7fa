(() => {
	const { origin, url, connection, company, error, text } = document.getElementById('tell').dataset
	if (!window.opener) return location.replace(url)
	window.opener.postMessage(error
		? { source: 'freshbearer', error, message: text }
		: { source: 'freshbearer', connection, company }, origin)
	window.close()
})()
