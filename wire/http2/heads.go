package http2

import (
	"errors"
	"unicode/utf8"

	"golang.org/x/net/http2/hpack"

	"tapedeck/events"
	"tapedeck/wire"
)

// Bounds of heads. A tape's exchange with two heads and two bodies stays below
// NATS' max_payload.
const (
	maxBlock = 256 << 10 // header block, compressed
	maxHead  = 128 << 10 // head, as it is counted here: with fieldOverhead
	maxTable = 256 << 10 // dynamic table; 4 KiB is usual, 64 KiB the most that browsers ask for

	fieldOverhead = 32 // of a field (RFC 9113, 6.5.2)
)

var (
	errHeadSize = errors.New("head is longer than 128 KiB")
	errPseudo   = errors.New("pseudo-header unknown, twice, missing or behind a header")
	errStatus   = errors.New("status is no number of three digits")
)

// heads decodes the header blocks of one side. Each block changes the state in
// which the next is read, so every one is decoded, wanted or not.
//
// An encoder names what it has sent before by how many entries ago it was.
// When blocks are missing, a decoder that begins empty knows the entries made
// since, and nothing older: what it can decode is right, and what names an
// older entry fails.
type heads struct {
	decoder *hpack.Decoder
	list    list
}

// decode reads a whole block into h.list; false says that it can't be known.
func (h *heads) decode(block []byte) bool {
	if h.decoder == nil {
		h.decoder = hpack.NewDecoder(4096, h.list.add)
		h.decoder.SetAllowedMaxDynamicTableSize(maxTable)
	}
	h.list.reset()
	_, err := h.decoder.Write(block)
	if err == nil {
		err = h.decoder.Close()
	}
	if err != nil {
		h.lose()
	}
	return err == nil
}

// lose forgets the state.
func (h *heads) lose() {
	// The size that the encoder was told may have been in what is missing: a
	// table that is too large only keeps what is never named again.
	h.decoder = hpack.NewDecoder(maxTable, h.list.add)
	h.decoder.SetAllowedMaxDynamicTableSize(maxTable)
}

// list is a decoded header block.
type list struct {
	pseudo  pseudo
	text    []byte // names and values
	lengths []int  // of each
	size    int
	err     error
}

// pseudo are the pseudo-headers (RFC 9113, 8.3).
type pseudo struct{ method, scheme, authority, path, protocol, status *string }

// usualHead is what a connection keeps the memory for.
const usualHead = 8 << 10

func (l *list) reset() {
	if cap(l.text) > usualHead || cap(l.lengths) > usualHead/16 {
		*l = list{}
		return
	}
	*l = list{text: l.text[:0], lengths: l.lengths[:0]}
}

// add takes a field. Beyond the bound it only says so.
func (l *list) add(f hpack.HeaderField) {
	l.size += len(f.Name) + len(f.Value) + fieldOverhead
	switch {
	case l.size > maxHead:
		l.err = errHeadSize
	case f.IsPseudo():
		l.addPseudo(f)
	default:
		l.text = append(append(l.text, f.Name...), f.Value...)
		l.lengths = append(l.lengths, len(f.Name), len(f.Value))
	}
}

func (l *list) addPseudo(f hpack.HeaderField) {
	var to **string
	switch f.Name {
	case ":method":
		to = &l.pseudo.method
	case ":scheme":
		to = &l.pseudo.scheme
	case ":authority":
		to = &l.pseudo.authority
	case ":path":
		to = &l.pseudo.path
	case ":protocol":
		to = &l.pseudo.protocol
	case ":status":
		to = &l.pseudo.status
	}
	if to == nil || *to != nil || len(l.lengths) > 0 {
		l.fail(errPseudo)
		return
	}
	value := text(f.Value)
	*to = &value
}

func (l *list) fail(err error) {
	if l.err == nil {
		l.err = err
	}
}

// fields copies the headers, in two allocations and one for their order.
func (l *list) fields() []*events.Field {
	n := len(l.lengths) / 2
	if n == 0 {
		return nil
	}
	all := append([]byte(nil), l.text...)
	slab := make([]events.Field, n)
	fields := make([]*events.Field, n)
	cut := func(n int) []byte {
		b := all[:n:n]
		all = all[n:]
		return b
	}
	for i := range fields {
		slab[i].Name = cut(l.lengths[2*i])
		slab[i].Value = cut(l.lengths[2*i+1])
		fields[i] = &slab[i]
	}
	return fields
}

// request fills the head of a request.
func (l *list) request(r *events.Request) error {
	p := l.pseudo
	r.Method, r.Scheme, r.Host, r.Target = value(p.method), value(p.scheme), value(p.authority), value(p.path)
	r.Headers = l.fields()
	if r.Host == "" {
		r.Host = text(events.HeaderValue(r.Headers, "host"))
	}
	plain := r.Method == "CONNECT" && p.protocol == nil
	if plain {
		r.Target = r.Host // as HTTP/1 writes it
	}
	if p.status != nil || r.Method == "" || !plain && (r.Scheme == "" || r.Target == "") {
		l.fail(errPseudo)
	}
	return l.err
}

// response fills the head of a response.
func (l *list) response(r *events.Response) error {
	p := l.pseudo
	r.Headers = l.fields()
	status := value(p.status)
	switch {
	case p.method != nil || p.scheme != nil || p.authority != nil || p.path != nil || p.status == nil:
		l.fail(errPseudo)
	case len(status) != 3 || status[0] < '1' || status[0] > '9' || !digit(status[1]) || !digit(status[2]):
		l.fail(errStatus)
	default:
		r.Status = status
	}
	return l.err
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// text makes a string of a value from the wire: a protobuf string must be UTF-8.
func text(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return wire.Text([]byte(s), maxHead)
}
