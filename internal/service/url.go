package service

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
)

// redactURL hides the password of a URL in messages.
func redactURL(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return "(unreadable URL)"
	}
	return u.Redacted()
}

func splitHostPort(address string) (string, int, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	n, err := strconv.Atoi(port)
	if err != nil || n < 0 || n > 65535 {
		return "", 0, fmt.Errorf("port %q is no number from 0 to 65535", port)
	}
	if n == 0 {
		n = -1 // nats-server's word for "any free port"
	}
	return host, n, nil
}
