package formats

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"tapedeck/events"
	"tapedeck/wire"
	"tapedeck/wire/http1"
)

// k6Writer writes a script for k6 (an ES module): the recorded requests in
// their order, each with a check of its status. Texts of the recording are
// JSON, which is JavaScript.
type k6Writer struct {
	w    *bufio.Writer
	last int64 // Unix ns at which the request before began
}

func newK6Writer(w io.Writer, version string) (*k6Writer, error) {
	k := &k6Writer{w: bufio.NewWriter(w)}
	_, err := fmt.Fprintf(k.w, `// Written by tapedeck %s: the recorded requests in their order.
//   k6 run -e TARGET=http://localhost:3000 FILE   sends all of them there
//   -e PACE=1 keeps the recorded pauses, 0.5 halves them; without it there are none
// td1_... stands for a credential, which was not recorded: put yours in its place.
import http from 'k6/http';
import encoding from 'k6/encoding';
import { check, sleep } from 'k6';

export const options = { vus: 1, iterations: 1 };

const pace = Number(__ENV.PACE || 0);

function send(pause, method, base, target, body, params, status) {
  if (pace > 0 && pause > 0) {
    sleep(pause * pace);
  }
  const r = http.request(method, (__ENV.TARGET || base) + target, body, { redirects: 0, ...params });
  if (status > 0) {
    check(r, { [params.tags.name + ' answers ' + status]: (got) => got.status === status });
  }
}

function bytes(text) {
  return encoding.b64decode(text);
}

export default function () {
`, comment(version))
	return k, err
}

func (k *k6Writer) Write(x *events.Exchange) (string, error) {
	if why := notSendable(x); why != "" {
		return why, nil
	}
	q := x.Request
	scheme, host, target := partsOf(q)
	if !strings.HasPrefix(target, "/") {
		return "OPTIONS * has no URL", nil
	}
	pause := 0.0
	if k.last > 0 {
		pause = max(0, float64(q.FirstByte-k.last)/1e9)
	}
	k.last = q.FirstByte
	code := 0
	if x.Response != nil {
		code = status(x.Response)
	}
	params, err := script(map[string]any{
		"headers": k6Headers(q, host),
		"tags":    map[string]string{"name": q.Method + " " + wire.Template(http1.Path(target))},
	})
	if err != nil {
		return "", fmt.Errorf("k6: exchange %x: %w", x.Id, err)
	}
	words := []string{fmt.Sprintf("%.3f", pause)}
	for _, s := range []string{q.Method, scheme + "://" + host, target} {
		word, err := script(s)
		if err != nil {
			return "", fmt.Errorf("k6: exchange %x: %w", x.Id, err)
		}
		words = append(words, word)
	}
	body, err := k6Body(q.Body.GetData())
	if err != nil {
		return "", fmt.Errorf("k6: exchange %x: %w", x.Id, err)
	}
	_, err = fmt.Fprintf(k.w, "  send(%s, %s, %s, %d);\n", strings.Join(words, ", "), body, params, code)
	return "", err
}

func (k *k6Writer) Close() error {
	k.w.WriteString("}\n")
	return k.w.Flush()
}

// script writes a value as JavaScript.
func script(v any) (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b) // escapes U+2028 and U+2029
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return strings.TrimSpace(b.String()), err
}

func k6Body(data []byte) (string, error) {
	switch {
	case len(data) == 0:
		return "null", nil
	case utf8.Valid(data):
		return script(string(data))
	}
	text, err := script(base64.StdEncoding.EncodeToString(data))
	return "bytes(" + text + ")", err
}

// k6Headers joins headers of one name, as they mean (RFC 9110, 5.3): k6 has
// one of each.
func k6Headers(q *events.Request, host string) map[string]string {
	out, names := map[string]string{}, map[string]string{}
	for _, f := range q.Headers {
		name, value := string(f.Name), strings.ToValidUTF8(string(f.Value), "\ufffd")
		lower := strings.ToLower(name)
		if !isToken(name) || framing(lower) || lower == "host" && value == host || strings.ContainsAny(value, "\r\n\x00") {
			continue
		}
		first, twice := names[lower]
		if !twice {
			names[lower], out[name] = name, value
			continue
		}
		separator := ", "
		if lower == "cookie" {
			separator = "; "
		}
		out[first] += separator + value
	}
	return out
}
