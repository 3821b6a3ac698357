package grpc

import (
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"tapedeck/events"
	"tapedeck/wire"
)

func fields(pairs ...string) []*events.Field {
	var all []*events.Field
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, &events.Field{Name: []byte(pairs[i]), Value: []byte(pairs[i+1])})
	}
	return all
}

func TestStatus(t *testing.T) {
	trailers := func(status string) *events.Response {
		return &events.Response{Status: "200", Trailers: fields("grpc-status", status)}
	}
	for _, test := range []struct {
		name, failure string
		response      *events.Response
		status, class string
	}{
		{"trailers", "", trailers("0"), "OK", "ok"},
		{"trailers only", "", &events.Response{Status: "200", Headers: fields("grpc-status", "14")}, "UNAVAILABLE", "server"},
		{"caller's fault", "", trailers("3"), "INVALID_ARGUMENT", "client"},
		{"cancelled", "", trailers("1"), "CANCELLED", "client"},
		{"last", "", trailers("16"), "UNAUTHENTICATED", "client"},
		{"undefined", "", trailers("17"), "UNKNOWN", "server"},
		{"endless", "", trailers("99999999999999999999"), "UNKNOWN", "server"},
		{"no number", "", trailers("OK"), "UNKNOWN", "server"},
		{"no status", "", &events.Response{Status: "200"}, "", "failed"},
		{"no answer", "no answer: reset by peer", nil, "", "failed"},
		{"cut off after its status", "reset by client: CANCEL", trailers("0"), "OK", "failed"},
		{"a proxy's", "", &events.Response{Status: "503"}, "UNAVAILABLE", "server"},
		{"a proxy's, forbidden", "", &events.Response{Status: "403"}, "PERMISSION_DENIED", "client"},
		{"a proxy's, other", "", &events.Response{Status: "302"}, "UNKNOWN", "server"},
	} {
		x := &events.Exchange{Request: &events.Request{Target: "/a.B/C", Method: "POST"}, Response: test.response, Failure: test.failure}
		d := (&Protocol{}).Describe(x)
		if d.Status != test.status || d.Class.Name() != test.class {
			t.Errorf("%s: got %q, %s, want %q, %s", test.name, d.Status, d.Class.Name(), test.status, test.class)
		}
	}
}

func TestDescribeEndpoint(t *testing.T) {
	for target, want := range map[string][2]string{
		"/shop.v1.Orders/Get":           {"Get", "/shop.v1.Orders/Get"},
		"/Orders/Get?x":                 {"Get", "/Orders/Get"},
		"/prefix/shop.v1.Orders/Get":    {"Get", "/prefix/shop.v1.Orders/Get"},
		"/orders/17":                    {"17", "/orders/17"},
		"/":                             {"POST", "/"},
		"/a b/c":                        {"POST", "/a b/c"},
		"/a/" + string(make([]byte, 9)): {"POST", "/a/" + string(make([]byte, 9))},
	} {
		x := &events.Exchange{Request: &events.Request{Target: target, Method: "POST", Host: "Shop:80", Headers: fields("tapedeck-replay", "r1.s1", "x-tenant", "t")}}
		d := (&Protocol{Tags: []string{"X-Tenant"}}).Describe(x)
		if got := [2]string{d.Endpoint.Method, d.Endpoint.Template}; got != want || d.Endpoint.Host != "shop" || d.Endpoint.Protocol != Name || !d.Endpoint.Replay || len(d.Tags) != 1 {
			t.Errorf("%q: got %+v", target, d.Endpoint)
		}
	}
}

func TestSpeaks(t *testing.T) {
	for value, want := range map[string]bool{
		"application/grpc": true, "application/grpc+proto": true, "Application/gRPC; x=y": true,
		"application/grpc-web": false, "application/grpc-web+proto": false, "application/json": false, "": false,
	} {
		x := &events.Exchange{Request: &events.Request{Headers: fields("Content-Type", value)}}
		if got := (&Protocol{}).Speaks(x); got != want {
			t.Errorf("%q: got %v, want %v", value, got, want)
		}
	}
}

func TestSignature(t *testing.T) {
	sign := func(path string, m proto.Message) wire.Signature {
		b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return (&Protocol{}).Signature(&events.Exchange{Request: &events.Request{Target: path, Body: &events.Body{Data: message(string(b))}}})
	}
	object := func(pairs map[string]any) proto.Message {
		m, err := structpb.NewStruct(pairs)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	const one, two = "0192a0c4-7f3e-7cc3-98c4-dc0c0c07398f", "0192a0c4-7f3e-7cc3-98c4-dc0c0c073990"
	for _, test := range []struct {
		name                string
		a, b                wire.Signature
		exact, shape, route bool
	}{
		{"equal", sign("/a.B/C", wrapperspb.String("x")), sign("/a.B/C", wrapperspb.String("x")), true, true, true},
		{"other text", sign("/a.B/C", wrapperspb.String("x")), sign("/a.B/C", wrapperspb.String("y")), false, false, true},
		{"other number", sign("/a.B/C", wrapperspb.Int64(3)), sign("/a.B/C", wrapperspb.Int64(4)), false, false, true},
		{"volatile", sign("/a.B/C", wrapperspb.String(one)), sign("/a.B/C", wrapperspb.String(two)), false, true, true},
		{"volatile inside", sign("/a.B/C", object(map[string]any{"id": one, "n": 1})), sign("/a.B/C", object(map[string]any{"id": two, "n": 1})), false, true, true},
		{"other inside", sign("/a.B/C", object(map[string]any{"id": one, "n": 1})), sign("/a.B/C", object(map[string]any{"id": two, "n": 2})), false, false, true},
		{"other method", sign("/a.B/C", wrapperspb.String("x")), sign("/a.B/D", wrapperspb.String("x")), false, false, false},
	} {
		got := []bool{test.a.Exact == test.b.Exact, test.a.Shape == test.b.Shape, test.a.Route == test.b.Route}
		if got[0] != test.exact || got[1] != test.shape || got[2] != test.route {
			t.Errorf("%s: exact, shape, route %v", test.name, got)
		}
	}
}
