package cli

// proxyVariables make a program send its calls through the proxy: both
// spellings, since programs read one or the other, and Node only when it is
// asked. Hosts that were to go around a proxy are to be recorded as well.
//
// No variable does anything for localhost in Go, and there are programs that
// read none: for those dependencies are mapped one by one.
func proxyVariables(address string) []string {
	url := "http://" + address
	return []string{
		"HTTP_PROXY=" + url, "http_proxy=" + url,
		"HTTPS_PROXY=" + url, "https_proxy=" + url,
		"NO_PROXY=", "no_proxy=",
		"NODE_USE_ENV_PROXY=1",
	}
}
