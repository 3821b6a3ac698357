package cli

import (
	"net"
	"strings"
)

// javaProxy is what proxyVariables is for a JVM, which reads none of them. Its
// rules for what goes around a proxy have no ports, so that beside a fixed
// dependency on loopback all of loopback goes around. A user of the proxy
// can't be given: the JVM has no property for it.
func javaProxy(address string, loopbackDirect bool) []string {
	host, port, err := net.SplitHostPort(address[strings.LastIndex(address, "@")+1:])
	if err != nil {
		return nil
	}
	direct := ""
	if loopbackDirect {
		direct = "localhost|127.*|[::1]"
	}
	var options []string
	for _, scheme := range []string{"http", "https"} {
		options = append(options, "-D"+scheme+".proxyHost="+host, "-D"+scheme+".proxyPort="+port)
	}
	return append(options, "-Dhttp.nonProxyHosts="+direct) // for https as well
}

// javaVariable hands options to every JVM that is started. Those that the user
// gave win: they come last.
func javaVariable(options []string, before string) string {
	for i, o := range options {
		if strings.ContainsAny(o, " \t") {
			options[i] = `"` + o + `"`
		}
	}
	return strings.TrimSpace("JAVA_TOOL_OPTIONS=" + strings.Join(options, " ") + " " + before)
}
