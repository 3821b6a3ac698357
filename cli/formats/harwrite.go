package formats

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/encoding/protojson"

	"tapedeck/events"
)

type harWriter struct {
	w     *bufio.Writer
	comma string
}

func newHARWriter(w io.Writer, version string) (*harWriter, error) {
	h := &harWriter{w: bufio.NewWriter(w)}
	creator, err := json.Marshal(map[string]string{"name": "tapedeck", "version": version})
	if err != nil {
		return nil, fmt.Errorf("har: %w", err)
	}
	_, err = fmt.Fprintf(h.w, `{"log":{"version":"1.2","creator":%s,"pages":[],"entries":[`, creator)
	return h, err
}

func (h *harWriter) Write(x *events.Exchange) (string, error) {
	if x.Request == nil || x.Protocol != "http" {
		return x.Protocol + ": no HTTP", nil
	}
	return "", h.put(x, harEntryOf(x))
}

// WriteCall writes a call of gRPC as the HTTP/2 that it is, its messages beside.
func (h *harWriter) WriteCall(x *events.Exchange, messages any) error {
	e := harEntryOf(x)
	e.Messages = messages
	return h.put(x, e)
}

func (h *harWriter) put(x *events.Exchange, e *harEntry) (err error) {
	if e.Own, err = ownPart(x); err != nil {
		return fmt.Errorf("har: exchange %x: %w", x.Id, err)
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(e); err != nil {
		return fmt.Errorf("har: exchange %x: %w", x.Id, err)
	}
	h.w.WriteString(h.comma + "\n") // errors of a bufio.Writer stick
	_, err = h.w.Write(bytes.TrimRight(b.Bytes(), "\n"))
	h.comma = ","
	return err
}

func (h *harWriter) Close() error {
	h.w.WriteString("\n]}}\n")
	return h.w.Flush()
}

// ownPart is the exchange without what the entry says itself.
func ownPart(x *events.Exchange) (json.RawMessage, error) {
	q := x.Request
	own := &events.Exchange{Id: x.Id, Direction: x.Direction, Protocol: x.Protocol, Connection: x.Connection, Interim: x.Interim, Failure: x.Failure, Redactions: x.Redactions}
	own.Request = &events.Request{Scheme: q.Scheme, Host: q.Host, Target: q.Target, Trailers: q.Trailers, FirstByte: q.FirstByte, LastByte: q.LastByte, Body: bare(q.Body)}
	if a := x.Response; a != nil {
		own.Response = &events.Response{Trailers: a.Trailers, FirstByte: a.FirstByte, LastByte: a.LastByte, Body: bare(a.Body)}
	}
	return protojson.Marshal(own)
}

func bare(b *events.Body) *events.Body {
	if b == nil {
		return nil
	}
	return &events.Body{Size: b.Size, Kept: b.Kept, Hmac: b.Hmac}
}

func harEntryOf(x *events.Exchange) *harEntry {
	q := x.Request
	e := &harEntry{Started: time.Unix(0, q.FirstByte).UTC().Format(time.RFC3339Nano)}
	e.Timings = harTimings{Blocked: -1, DNS: -1, Connect: -1, SSL: -1, Send: millis(q.LastByte - q.FirstByte)}
	e.Request = harRequest{
		Method: q.Method, URL: urlOf(q), HTTPVersion: q.Version, Headers: pairs(q.Headers), Cookies: requestCookies(q.Headers),
		QueryString: queryOf(q.Target), HeadersSize: -1, BodySize: number(q.Body.GetSize()), PostData: harPostedOf(q),
	}
	e.Response = harResponse{HTTPVersion: q.Version, StatusText: x.Failure, Cookies: []harPair{}, Headers: []harPair{}, HeadersSize: -1, BodySize: -1, Content: harContent{MimeType: "x-unknown"}}
	if a := x.Response; a != nil {
		e.Response = harResponse{
			Status: number(status(a)), StatusText: a.Reason, HTTPVersion: a.Version, Headers: pairs(a.Headers), Cookies: responseCookies(a.Headers),
			RedirectURL: events.HeaderValue(a.Headers, "Location"), HeadersSize: -1, BodySize: number(a.Body.GetSize()), Content: harContentOf(a),
		}
		e.Timings.Wait, e.Timings.Receive = millis(a.FirstByte-q.LastByte), millis(a.LastByte-a.FirstByte)
	}
	e.Time = e.Timings.Send + e.Timings.Wait + e.Timings.Receive
	if c := x.Connection; c != nil {
		if host, _, err := net.SplitHostPort(c.Server); err == nil && net.ParseIP(host) != nil {
			e.ServerIP = host
		}
		if id, err := events.IDFrom(c.Id); err == nil {
			e.Connection = harText(id.String())
		}
	}
	return e
}

func status(a *events.Response) int {
	n, err := strconv.Atoi(a.Status)
	if err != nil {
		return 0
	}
	return n
}

// millis are never negative: an answer may come before its request has ended.
func millis(nanos int64) number { return number(float64(max(nanos, 0)) / 1e6) }

func harPostedOf(q *events.Request) *harPosted {
	if len(q.Body.GetData()) == 0 {
		return nil
	}
	p := &harPosted{MimeType: mimeType(q.Headers)}
	p.Text, p.Encoding, p.Raw = shownBody(q.Headers, q.Body.Data)
	return p
}

func harContentOf(a *events.Response) harContent {
	data := a.Body.GetData()
	c := harContent{Size: number(a.Body.GetSize()), MimeType: mimeType(a.Headers)}
	if len(data) == 0 {
		return c
	}
	c.Text, c.Encoding, c.Raw = shownBody(a.Headers, data)
	if plain := len(c.Text); c.Raw != nil { // the format's size is that of the content, unpacked
		if c.Encoding != "" {
			plain = base64.StdEncoding.DecodedLen(plain) - strings.Count(c.Text[max(0, plain-2):], "=")
		}
		c.Size = number(plain)
	}
	return c
}

func mimeType(headers []*events.Field) string {
	if t := events.HeaderValue(headers, "Content-Type"); t != "" {
		return t
	}
	return "application/octet-stream"
}

// shownBody writes a body as the format wants it: text where it is text,
// decoded where it was sent packed; raw is then what was sent.
func shownBody(headers []*events.Field, data []byte) (text, encoding string, raw []byte) {
	if plain, ok := decoded(data, events.HeaderValue(headers, "Content-Encoding")); ok {
		raw, data = data, plain
	}
	if utf8.Valid(data) && bytes.IndexByte(data, 0) < 0 {
		return string(data), "", raw
	}
	return base64.StdEncoding.EncodeToString(data), "base64", raw
}

// decoded undoes a content coding, if it is one that is known here.
func decoded(data []byte, coding string) ([]byte, bool) {
	const limit = 16 << 20 // a few bytes can unpack to very many
	var r io.Reader
	var err error
	switch in := bytes.NewReader(data); strings.ToLower(strings.TrimSpace(coding)) {
	case "gzip", "x-gzip":
		r, err = gzip.NewReader(in)
	case "deflate":
		r, err = zlib.NewReader(in)
	case "zstd":
		var z *zstd.Decoder
		if z, err = zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(limit)); err == nil {
			defer z.Close()
			r = z
		}
	default:
		return nil, false
	}
	if err != nil {
		return nil, false
	}
	plain, err := io.ReadAll(io.LimitReader(r, limit+1))
	return plain, err == nil && len(plain) <= limit
}

func requestCookies(headers []*events.Field) []harPair {
	out := []harPair{}
	for _, f := range headers {
		if !strings.EqualFold(string(f.Name), "Cookie") {
			continue
		}
		for pair := range strings.SplitSeq(string(f.Value), ";") {
			if name, value, ok := strings.Cut(strings.TrimSpace(pair), "="); ok {
				out = append(out, harPair{Name: name, Value: value})
			}
		}
	}
	return out
}

func responseCookies(headers []*events.Field) []harPair {
	out := []harPair{}
	for _, f := range headers {
		if !strings.EqualFold(string(f.Name), "Set-Cookie") {
			continue
		}
		pair, _, _ := strings.Cut(string(f.Value), ";")
		if name, value, ok := strings.Cut(strings.TrimSpace(pair), "="); ok {
			out = append(out, harPair{Name: name, Value: value})
		}
	}
	return out
}

func queryOf(target string) []harPair {
	out := []harPair{}
	_, query, _ := strings.Cut(target, "?")
	for part := range strings.SplitSeq(query, "&") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		out = append(out, harPair{Name: unescape(name), Value: unescape(value)})
	}
	return out
}

func unescape(s string) string {
	if plain, err := url.QueryUnescape(s); err == nil {
		return plain
	}
	return s
}
