package traffic

import (
	"strings"
	"unicode/utf8"

	"tapedeck/events"
)

// Bounds of texts, in bytes. Longer ones are cut: the tape has them whole.
const (
	maxName     = 256 // cluster, service, host, …
	maxPath     = 1 << 10
	maxStatus   = 64
	maxTagKey   = 128
	maxTagValue = 1 << 10
	maxTags     = 8
)

// text makes a text from outside fit for PostgreSQL, which takes neither NUL
// nor invalid UTF-8, and cuts it to limit bytes on a rune boundary.
func text(s string, limit int) string {
	if len(s) <= limit && utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 {
		return s
	}
	s = strings.ToValidUTF8(s, "\uFFFD")
	s = strings.ReplaceAll(s, "\x00", "\uFFFD")
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}

func cleanWorkload(w *events.Workload) *events.Workload {
	return &events.Workload{
		Cluster: text(w.Cluster, maxName), Namespace: text(w.Namespace, maxName), Service: text(w.Service, maxName),
		Version: text(w.Version, maxName), Instance: text(w.Instance, maxName),
	}
}

func cleanEndpoint(p *events.Endpoint) *events.Endpoint {
	return &events.Endpoint{
		Direction: p.Direction, Protocol: text(p.Protocol, maxName), Host: text(p.Host, maxName),
		Method: text(p.Method, maxName), Template: text(p.Template, maxPath), Replay: p.Replay,
	}
}

// code is the status as a number when it is 1 to 9 digits.
func code(status string) (n int32, ok bool) {
	if len(status) == 0 || len(status) > 9 {
		return 0, false
	}
	for i := range len(status) {
		d := status[i] - '0'
		if d > 9 {
			return 0, false
		}
		n = n*10 + int32(d)
	}
	return n, true
}
