package cli

import "strings"

// proxyVariables make a program send its calls through the proxy: both
// spellings, since programs read one or the other, and Node only when it is
// asked. Only the addresses in direct go around it; what was to go around a
// proxy before is to be recorded as well.
//
// No variable does anything for localhost in Go, and there are programs that
// read none: for those dependencies are mapped one by one.
func proxyVariables(address string, direct ...string) []string {
	url, none := "http://"+address, strings.Join(direct, ",")
	return []string{
		"HTTP_PROXY=" + url, "http_proxy=" + url,
		"HTTPS_PROXY=" + url, "https_proxy=" + url,
		"NO_PROXY=" + none, "no_proxy=" + none,
		"NODE_USE_ENV_PROXY=1",
	}
}
