package formats

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"tapedeck/events"
	"tapedeck/wire"
)

const (
	maxEntry       = 64 << 20 // of the file, with what the decoder reads ahead
	maxConnections = 1 << 16  // remembered
)

// errEntry says that one value of a file is over the bound.
var errEntry = fmt.Errorf("an entry is longer than %d MiB", maxEntry>>20)

// ReadHAR reads the entries of a HAR file one at a time.
func ReadHAR(r io.Reader, o Options) iter.Seq2[*events.Exchange, error] {
	o = o.withDefaults()
	return func(yield func(*events.Exchange, error) bool) {
		h := &harReader{Options: o, in: &allowance{r: skipMark(r)}, connections: map[string]*harConnection{}}
		h.decoder = json.NewDecoder(h.in)
		if err := h.read(func(x *events.Exchange) bool { return yield(x, nil) }); err != nil {
			yield(nil, err)
		}
	}
}

// skipMark skips the byte order mark that some write.
func skipMark(r io.Reader) io.Reader {
	b := bufio.NewReader(r)
	if mark, err := b.Peek(3); err == nil && string(mark) == "\ufeff" {
		b.Discard(3)
	}
	return b
}

// allowance is a reader that gives up when one value takes too many bytes.
type allowance struct {
	r    io.Reader
	used int64
}

func (a *allowance) Read(b []byte) (int, error) {
	if a.used > maxEntry {
		return 0, errEntry
	}
	n, err := a.r.Read(b)
	a.used += int64(n)
	return n, err
}

type harReader struct {
	Options
	in          *allowance
	decoder     *json.Decoder
	connections map[string]*harConnection
	entries     int
}

type harConnection struct {
	id      events.ID
	opened  int64
	ordinal uint32
}

var errStop = errors.New("the reader wants no more")

func (h *harReader) read(yield func(*events.Exchange) bool) error {
	found := false
	err := h.object(func(key string) error {
		if key != "log" {
			return h.skip()
		}
		return h.object(func(key string) error {
			if key != "entries" {
				return h.skip()
			}
			found = true
			return h.array(func() error { return h.entry(yield) })
		})
	})
	switch {
	case errors.Is(err, errStop):
		return nil
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		err = errors.New("the file is cut off")
	case err == nil && !found:
		err = errors.New("it has no log.entries: is it a HAR file?")
	}
	if err != nil {
		return fmt.Errorf("har: byte %d, after %d entries: %w", h.decoder.InputOffset(), h.entries, err)
	}
	return nil
}

// object calls visit for each key of an object.
func (h *harReader) object(visit func(key string) error) error {
	if err := h.expect('{'); err != nil {
		return err
	}
	for h.decoder.More() {
		key, err := h.token()
		if err != nil {
			return err
		}
		name, _ := key.(string) // keys are nothing else
		if err := visit(name); err != nil {
			return err
		}
	}
	return h.expect('}')
}

func (h *harReader) array(visit func() error) error {
	if err := h.expect('['); err != nil {
		return err
	}
	for h.decoder.More() {
		if err := visit(); err != nil {
			return err
		}
	}
	return h.expect(']')
}

func (h *harReader) expect(d json.Delim) error {
	t, err := h.token()
	if err == nil && t != d {
		err = fmt.Errorf("found %v, want %v", t, d)
	}
	return err
}

func (h *harReader) token() (json.Token, error) {
	h.in.used = 0
	return h.decoder.Token()
}

func (h *harReader) decode(v any) error {
	h.in.used = 0
	return h.decoder.Decode(v)
}

func (h *harReader) skip() error { return h.decode(new(json.RawMessage)) }

func (h *harReader) entry(yield func(*events.Exchange) bool) error {
	var e harEntry
	if err := h.decode(&e); err != nil {
		return err
	}
	h.entries++
	x, why, err := h.exchange(&e)
	if err != nil {
		return fmt.Errorf("entry %d: %w", h.entries, err)
	}
	if why != "" {
		h.LeftOut(why)
		return nil
	}
	if !yield(x) {
		return errStop
	}
	return nil
}

// exchange makes an exchange of an entry, or says why it is none.
func (h *harReader) exchange(e *harEntry) (x *events.Exchange, leftOut string, err error) {
	if e.FromCache != "" {
		return nil, "answered by the browser's cache", nil
	}
	u, err := url.Parse(e.Request.URL)
	if err != nil {
		return nil, "", fmt.Errorf("url %q: not readable", clip(e.Request.URL, 80))
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return nil, "not http: " + clip(u.Scheme, 20), nil
	}
	started, err := parseStarted(e.Started)
	if err != nil {
		return nil, "", err
	}
	x = h.skeleton(e)
	if err := h.request(x, e, u); err != nil {
		return nil, "", fmt.Errorf("request: %w", err)
	}
	if err := h.response(x, e); err != nil {
		return nil, "", fmt.Errorf("response: %w", err)
	}
	if e.Own == nil {
		h.times(x, e, started)
		h.connection(x, e, u)
	}
	return x, "", nil
}

// skeleton is the exchange of a file of ours, and a new one otherwise.
func (h *harReader) skeleton(e *harEntry) *events.Exchange {
	x := &events.Exchange{}
	if e.Own != nil && (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(e.Own, x) != nil {
		x, e.Own = &events.Exchange{}, nil
	}
	if x.Protocol == "" {
		x.Protocol = "http"
	}
	if x.Direction == 0 {
		x.Direction = h.Direction
	}
	x.Segments = nil // they lie in tapes that are not here
	if x.Request == nil || x.Connection == nil || len(x.Connection.Id) != 16 {
		e.Own = nil // not written by us
		x.Request = &events.Request{}
	}
	return x
}

func (h *harReader) request(x *events.Exchange, e *harEntry, u *url.URL) error {
	r := x.Request
	var pseudo map[string]string
	r.Headers, pseudo = fields(e.Request.Headers)
	r.Method = e.Request.Method
	r.Version = httpVersion(e.Request.HTTPVersion, pseudo)
	if e.Own == nil || urlOf(r) != e.Request.URL {
		r.Scheme = u.Scheme
		r.Host = cmp.Or(pseudo[":authority"], events.HeaderValue(r.Headers, "Host"), u.Host)
		r.Target = cmp.Or(pseudo[":path"], u.RequestURI())
	}
	if len(e.Request.Cookies) > 0 && events.HeaderValue(r.Headers, "Cookie") == "" {
		r.Headers = append(r.Headers, &events.Field{Name: []byte("Cookie"), Value: []byte(cookies(e.Request.Cookies))})
	}
	data, decoded, err := posted(e.Request.PostData)
	if err != nil {
		return err
	}
	size := int64(len(data))
	if claimed := int64(e.Request.BodySize); !decoded && claimed > size && e.Request.PostData != nil && len(data) == 0 {
		size = claimed // it was sent, and is not in the file
	}
	if e.Own == nil {
		r.Headers = decodedBody(r.Headers, data, decoded)
	}
	r.Body = h.body(r.Body, data, size)
	return nil
}

func (h *harReader) response(x *events.Exchange, e *harEntry) error {
	a := &e.Response
	if a.Status < 100 || a.Status > 999 {
		x.Response = nil
		if x.Failure == "" {
			x.Failure = failureOf(a)
		}
		return nil
	}
	if x.Response == nil {
		x.Response = &events.Response{}
	}
	r := x.Response
	var pseudo map[string]string
	r.Headers, pseudo = fields(a.Headers)
	r.Status, r.Reason, r.Version = strconv.Itoa(int(a.Status)), a.StatusText, httpVersion(a.HTTPVersion, pseudo)
	data, decoded, err := content(&a.Content)
	if err != nil {
		return err
	}
	size := int64(len(data))
	if claimed := int64(max(a.Content.Size, 0)); len(data) == 0 && claimed > 0 && x.Request.Method != "HEAD" {
		size = claimed // Chromium writes no content that it no longer has
	}
	if e.Own == nil {
		r.Headers = decodedBody(r.Headers, data, decoded)
	}
	r.Body = h.body(r.Body, data, size)
	return nil
}

func failureOf(a *harResponse) string {
	if a.Error != "" {
		return clip(string(a.Error), 200)
	}
	if a.StatusText != "" {
		return clip(a.StatusText, 200)
	}
	return "no answer"
}

// body cuts to what is kept. A body of ours knows its size and its hash.
func (h *harReader) body(own *events.Body, data []byte, size int64) *events.Body {
	if own == nil {
		own = &events.Body{Size: size}
	}
	if int64(len(data)) > h.MaxBody {
		data = data[:h.MaxBody]
	}
	return &events.Body{Data: data, Kept: int64(len(data)), Size: max(own.Size, size, int64(len(data))), Hmac: own.Hmac}
}

// decodedBody makes the headers fit a body whose content coding was undone, as
// the format has it: else its readers would unpack what is not packed.
func decodedBody(headers []*events.Field, data []byte, decoded bool) []*events.Field {
	coding := events.HeaderValue(headers, "Content-Encoding")
	if !decoded || len(data) == 0 || coding == "" || strings.EqualFold(coding, "gzip") && len(data) > 2 && data[0] == 0x1f && data[1] == 0x8b {
		return headers
	}
	setHeader(headers, "Content-Length", strconv.Itoa(len(data)))
	return without(headers, "Content-Encoding")
}

func content(c *harContent) (data []byte, decoded bool, err error) {
	if c.Raw != nil {
		return c.Raw, false, nil
	}
	if strings.EqualFold(c.Encoding, "base64") {
		data, err = unbase64(c.Text)
		return data, true, err
	}
	return []byte(c.Text), true, nil
}

func posted(p *harPosted) (data []byte, decoded bool, err error) {
	if p == nil {
		return nil, true, nil
	}
	if p.Raw != nil {
		return p.Raw, false, nil
	}
	if p.Text == "" && len(p.Params) > 0 && strings.Contains(p.MimeType, "urlencoded") {
		return []byte(form(p.Params)), true, nil
	}
	if strings.EqualFold(p.Encoding, "base64") {
		data, err = unbase64(p.Text)
		return data, true, err
	}
	return []byte(p.Text), false, nil
}

// form writes parameters as they are sent. Whether they are encoded in the
// file depends on who wrote it: those that are stay so.
func form(params []harPair) string {
	encode := func(s string) string {
		if plain, err := url.QueryUnescape(s); err == nil && plain != s && strings.ContainsAny(s, "%+") {
			return s
		}
		return url.QueryEscape(s)
	}
	var pairs []string
	for _, p := range params {
		pairs = append(pairs, encode(p.Name)+"="+encode(p.Value))
	}
	return strings.Join(pairs, "&")
}

func cookies(all []harPair) string {
	var pairs []string
	for _, c := range all {
		pairs = append(pairs, c.Name+"="+c.Value)
	}
	return strings.Join(pairs, "; ")
}

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
