package formats

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/url"
	"strconv"

	"google.golang.org/protobuf/encoding/protojson"

	"tapedeck/events"
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
