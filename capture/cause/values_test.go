package cause

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"tapedeck/events"
)

// holds says whether a value is among those of a request.
func holds(l *Linker, r *events.Request, value string) bool {
	v := values{linker: l}
	v.add([]byte(value))
	_, found := slices.BinarySearch(l.read(r), v.found[0])
	return found
}

func TestValuesOfRequests(t *testing.T) {
	l := New(false)
	request := func(target, kind, body string, headers ...*events.Field) *events.Request {
		return &events.Request{Target: target, Headers: append(headers, field("Content-Type", kind)), Body: &events.Body{Data: []byte(body)}}
	}
	message := protowire.AppendTag(nil, 1, protowire.VarintType)
	message = protowire.AppendVarint(message, 99017)
	message = protowire.AppendTag(message, 2, protowire.BytesType)
	message = protowire.AppendString(message, strings.Repeat("o", 48)) // its length is a digit
	message = protowire.AppendBytes(protowire.AppendTag(nil, 3, protowire.BytesType), message)
	framed := string(append([]byte{0, 0, 0, 0, byte(len(message))}, message...))
	for name, test := range map[string]struct {
		request  *events.Request
		has, not []string
	}{
		"path":         {request("/users/ada%40example.com/orders?from=2026-01-02", "", ""), []string{"users", "ada@example.com", "2026-01-02"}, nil},
		"json":         {request("/", "application/json", `{"id" : "o-17","n":[12.50,{"ok":"yes"}]}`), []string{"o-17", "12.50", "yes"}, []string{"id", "ok"}},
		"form":         {request("/", "application/x-www-form-urlencoded", "mail=ada@example.com&n=42"), []string{"ada@example.com", "42"}, nil},
		"grpc":         {request("/shop.Orders/Get", "application/grpc", framed), []string{"99017", strings.Repeat("o", 48), "shop.Orders"}, nil},
		"binary":       {request("/", "image/png", "ada ada"), nil, []string{"ada"}},
		"cookie":       {request("/", "", "", field("Cookie", "sid=0f8e1a; theme=dark"), field("User-Agent", "curl")), []string{"0f8e1a"}, []string{"curl"}},
		"token":        {request("/", "", "", field("AUTHORIZATION", "Bearer tok_1")), []string{"tok_1"}, nil},
		"trace":        {request("/", "", "", field("TraceParent", "00-aa-bb-01"), field("X-B3-TraceId", "cafe0001")), nil, []string{"aa", "00-aa-bb-01", "cafe0001"}},
		"request id":   {request("/", "", "", field("X-Request-Id", "req-1")), []string{"req-1"}, nil},
		"compressed":   {request("/", "text/plain", "ada", field("Content-Encoding", "gzip")), nil, []string{"ada"}},
		"beyond 4 KiB": {request("/", "text/plain", strings.Repeat(" ", maxBody)+"ada"), nil, []string{"ada"}},
	} {
		for _, value := range test.has {
			if !holds(l, test.request, value) {
				t.Errorf("%s: %s is not among its values", name, value)
			}
		}
		for _, value := range test.not {
			if holds(l, test.request, value) {
				t.Errorf("%s: %s is among its values", name, value)
			}
		}
	}
}

func TestKeysDifferFromProcessToProcess(t *testing.T) {
	r := &events.Request{Target: "/users/ada"}
	if slices.Equal(New(false).read(r), New(false).read(r)) {
		t.Error("two linkers hash alike: values could be guessed from hashes")
	}
}

func FuzzValues(f *testing.F) {
	f.Add("/a?b=c", "application/json", []byte(`{"a":"b"}`), []byte("sid=1"))
	f.Add("/%zz", "application/grpc", []byte("\x00\x00\x00\x00\x04\x0a\x02\x0a\x00"), []byte{0xff})
	f.Fuzz(func(t *testing.T, target, kind string, body, header []byte) {
		l := New(false)
		r := &events.Request{Target: target, Body: &events.Body{Data: body},
			Headers: []*events.Field{{Name: header, Value: body}, {Name: []byte("Content-Type"), Value: []byte(kind)}}}
		found := l.read(r)
		if len(found) > maxValues || !slices.IsSorted(found) || !slices.Equal(found, l.read(r)) {
			t.Fatalf("%d values, or not the same twice", len(found))
		}
	})
}
