package formats

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"tapedeck/events"
	"tapedeck/wire"
)

// curlWriter writes a shell script (POSIX sh) with one curl a request. All
// that comes from the recording stands in single quotes.
type curlWriter struct {
	w        *bufio.Writer
	requests int
}

func newCurlWriter(w io.Writer, version string) (*curlWriter, error) {
	c := &curlWriter{w: bufio.NewWriter(w)}
	_, err := fmt.Fprintf(c.w, `#!/bin/sh
# Written by tapedeck %s: the recorded requests in their order.
#   TARGET=http://localhost:3000 sh FILE   sends all of them there
# td1_... stands for a credential, which was not recorded: put yours in its place.
# Each line printed is the status that came and the one that was recorded.
base() { printf '%%s' "${TARGET:-$1}"; }
`, comment(version))
	return c, err
}

func (c *curlWriter) Write(x *events.Exchange) (string, error) {
	if why := notSendable(x); why != "" {
		return why, nil
	}
	q := x.Request
	scheme, host, target := partsOf(q)
	c.requests++
	fmt.Fprintf(c.w, "\n# %d: %s %s\n", c.requests, comment(q.Method), comment(target))
	body := q.Body.GetData()
	binary := len(body) > 0 && (!utf8.Valid(body) || bytes.IndexByte(body, 0) >= 0 || len(body) > 64<<10)
	if binary { // arguments have no zero bytes, and a bound
		c.w.WriteString("base64 -d <<'END' |\n" + wrapped(body) + "END\n")
	}
	c.w.WriteString("curl --silent --show-error --globoff --path-as-is --output /dev/null --write-out " +
		quote("%{http_code} recorded "+recordedStatus(x)+`\n`))
	c.option(methodOption(q.Method)...)
	for _, h := range curlHeaders(q, host) {
		c.option("--header", h)
	}
	switch {
	case binary:
		c.option("--data-binary", "@-")
	case len(body) > 0:
		c.option("--data-raw", string(body))
	}
	if !strings.HasPrefix(target, "/") {
		c.option("--request-target", target) // OPTIONS *
		target = "/"
	}
	_, err := fmt.Fprintf(c.w, " \\\n  \"$(base %s)\"%s\n", quote(scheme+"://"+host), quote(target))
	return "", err
}

func (c *curlWriter) option(words ...string) {
	c.w.WriteString(" \\\n  " + words[0])
	for _, w := range words[1:] {
		c.w.WriteString(" " + quote(w))
	}
}

func (c *curlWriter) Close() error { return c.w.Flush() }

// quote writes a text as one word of a shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// comment is a text that ends no line.
func comment(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\u2028' || r == '\u2029' {
			return '?'
		}
		return r
	}, clip(strings.ToValidUTF8(s, "?"), 120))
}

// wrapped is base64 in lines that every reader takes.
func wrapped(b []byte) string {
	const width = 76
	s := base64.StdEncoding.EncodeToString(b)
	var out strings.Builder
	for ; len(s) > width; s = s[width:] {
		out.WriteString(s[:width] + "\n")
	}
	out.WriteString(s + "\n")
	return out.String()
}

// notSendable says why a request can't be sent again as it was.
func notSendable(x *events.Exchange) string {
	q := x.Request
	switch {
	case x.Protocol != "http" || q == nil:
		return x.Protocol + ": no HTTP"
	case q.Method == "CONNECT":
		return "a tunnel"
	case x.Response.GetStatus() == "101":
		return "an upgraded connection"
	case q.Body.GetKept() < q.Body.GetSize() || int64(len(q.Body.GetData())) < q.Body.GetKept():
		return "its request body is not whole"
	case strings.HasPrefix(x.Failure, "malformed request"), !isToken(q.Method):
		return "malformed"
	}
	for _, s := range []string{q.Host, q.Target} {
		if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
			return "malformed"
		}
	}
	if strings.ContainsAny(q.Host, `/\?#@`) {
		return "malformed"
	}
	return ""
}

// partsOf is where a request goes. A request to a proxy names it whole.
func partsOf(q *events.Request) (scheme, host, target string) {
	scheme, host, target = q.Scheme, q.Host, q.Target
	if s, rest, ok := strings.Cut(target, "://"); ok && !strings.HasPrefix(target, "/") && isToken(s) {
		scheme, target = s, "/"
		if i := strings.IndexAny(rest, "/?"); i >= 0 {
			target = "/" + strings.TrimPrefix(rest[i:], "/")
			rest = rest[:i]
		}
		host = rest[strings.LastIndexByte(rest, '@')+1:]
	}
	if scheme != "https" {
		scheme = "http"
	}
	return scheme, host, target
}

// isToken is RFC 9110, 5.6.2.
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r))
	})
}

func methodOption(method string) []string {
	if method == "HEAD" {
		return []string{"--head"} // by --request curl would wait for a body
	}
	return []string{"--request", method}
}

// curlHeaders are the recorded headers, and nothing that curl adds itself.
func curlHeaders(q *events.Request, host string) []string {
	var out []string
	sent := map[string]bool{}
	for _, f := range q.Headers {
		name, value := string(f.Name), string(f.Value)
		lower := strings.ToLower(name)
		if !isToken(name) || framing(lower) || lower == "host" && value == host || strings.ContainsAny(value, "\r\n\x00") {
			continue
		}
		sent[lower] = true
		if value == "" {
			out = append(out, name+";") // how curl writes an empty one
			continue
		}
		out = append(out, name+": "+value)
	}
	for _, name := range []string{"Accept", "User-Agent", "Content-Type", "Expect"} {
		if !sent[strings.ToLower(name)] && (name != "Content-Type" && name != "Expect" || len(q.Body.GetData()) > 0) {
			out = append(out, name+":")
		}
	}
	return out
}

// framing headers are those of the message that is sent, not of the recorded one.
func framing(lower string) bool {
	return lower == "content-length" || lower == "transfer-encoding" || lower == "connection" || lower == "keep-alive" || strings.HasPrefix(lower, "proxy-")
}

func recordedStatus(x *events.Exchange) string {
	if s := x.Response.GetStatus(); s != "" {
		return strings.NewReplacer("%", "", `\`, "").Replace(wire.Text([]byte(s), 20))
	}
	return "none"
}
