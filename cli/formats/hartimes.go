package formats

import (
	"fmt"
	"math"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"tapedeck/events"
	"tapedeck/wire"
)

// httpVersion writes a version as the dissectors do.
func httpVersion(s string, pseudo map[string]string) string {
	switch v := strings.TrimPrefix(strings.ToUpper(s), "HTTP/"); {
	case v == "1.0":
		return "HTTP/1.0"
	case strings.HasPrefix(v, "2"), v == "H2", v == "H2C", len(pseudo) > 0 && !strings.HasPrefix(v, "3") && !strings.HasPrefix(v, "H3"):
		return "HTTP/2.0"
	case strings.HasPrefix(v, "3"), strings.HasPrefix(v, "H3"), strings.Contains(v, "QUIC"):
		return "HTTP/3.0"
	}
	return "HTTP/1.1"
}

// parseStarted reads a time of ISO 8601 as the tools write it.
func parseStarted(s string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999Z0700", "2006-01-02T15:04:05.999999999"} {
		if t, err := time.Parse(layout, s); err == nil && t.Year() > 1970 && t.Year() < 2200 {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("startedDateTime %q is no time of ISO 8601", clip(s, 40))
}

// times: an exchange begins with the first byte of its request, which is after
// the phases before it.
func (h *harReader) times(x *events.Exchange, e *harEntry, started time.Time) {
	t := e.Timings
	first := started.UnixNano() + nanos(t.Blocked) + nanos(t.DNS) + nanos(t.Connect)
	x.Request.FirstByte = first
	x.Request.LastByte = first + nanos(t.Send)
	if x.Response != nil {
		x.Response.FirstByte = x.Request.LastByte + nanos(t.Wait)
		x.Response.LastByte = x.Response.FirstByte + nanos(t.Receive)
		if x.Response.LastByte == first { // no timings, only the whole
			x.Response.LastByte = first + nanos(e.Time)
			x.Response.FirstByte = x.Response.LastByte
		}
	}
}

// nanos reads milliseconds. Phases that did not take place are -1.
func nanos(ms number) int64 {
	if !(ms > 0) || ms > 1e9 {
		return 0
	}
	return int64(math.Round(float64(ms) * 1e6))
}

// connection says what is known of it. Where the file names no connections,
// there is one to each host: all of a file comes from one client.
func (h *harReader) connection(x *events.Exchange, e *harEntry, u *url.URL) {
	host, port := strings.Trim(e.ServerIP, "[]"), u.Port()
	if e.ServerAddr != "" {
		host = e.ServerAddr
	}
	if host == "" {
		host = u.Hostname()
	}
	if e.ServerPort > 0 && e.ServerPort < 1<<16 {
		port = strconv.Itoa(int(e.ServerPort))
	}
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	c := h.known(u.Scheme+"://"+u.Host+" "+string(e.Connection), x.Request.FirstByte)
	x.Connection = &events.Connection{Id: c.id[:], Server: clip(net.JoinHostPort(host, port), 260), OpenedAt: c.opened, Ordinal: c.ordinal}
	c.ordinal++
	if e.ClientAddr != "" {
		x.Connection.Client = clip(net.JoinHostPort(e.ClientAddr, strconv.Itoa(int(e.ClientPort))), 260)
	}
	if u.Scheme == "https" {
		x.Connection.Tls = &events.TLS{ServerName: u.Hostname()}
	}
}

func (h *harReader) known(key string, first int64) *harConnection {
	c := h.connections[key]
	if c == nil {
		if len(h.connections) >= maxConnections {
			clear(h.connections)
		}
		c = &harConnection{id: events.NewID(time.Unix(0, first)), opened: first}
		h.connections[key] = c
	}
	return c
}

// urlOf is the URL of a request as a HAR names it.
func urlOf(r *events.Request) string {
	if strings.Contains(r.Target, "://") && !strings.HasPrefix(r.Target, "/") {
		return r.Target
	}
	target := r.Target
	if !strings.HasPrefix(target, "/") {
		target = "/" + target
	}
	scheme := r.Scheme
	if scheme == "" {
		scheme = "http"
	}
	return scheme + "://" + wire.Text([]byte(r.Host), 260) + target
}
