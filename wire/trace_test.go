package wire

import (
	"strings"
	"testing"

	"tapedeck/events"
)

func fields(pairs ...string) []*events.Field {
	var out []*events.Field
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, &events.Field{Name: []byte(pairs[i]), Value: []byte(pairs[i+1])})
	}
	return out
}

func TestReadMarks(t *testing.T) {
	const trace, span, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "00f067aa0ba902b7"
	for _, test := range []struct {
		name                string
		headers             []*events.Field
		trace, span, parent string
	}{
		{"none", fields("Host", "x"), "", "", ""},
		{"w3c", fields("TraceParent", "00-"+trace+"-"+span+"-01"), trace, span, ""},
		{"w3c of a later version", fields("traceparent", "01-"+trace+"-"+span+"-01-more"), trace, span, ""},
		{"w3c of version ff", fields("traceparent", "ff-"+trace+"-"+span+"-01"), "", "", ""},
		{"w3c of zeros", fields("traceparent", "00-"+strings.Repeat("0", 32)+"-"+span+"-01"), "", "", ""},
		{"b3 multiple", fields("X-B3-TraceId", trace, "X-B3-SpanId", span, "X-B3-ParentSpanId", parent), trace, span, parent},
		{"b3 of 64 bit", fields("X-B3-TraceId", span, "X-B3-SpanId", span), strings.Repeat("0", 16) + span, span, ""},
		{"b3 single", fields("b3", trace+"-"+span+"-1-"+parent), trace, span, parent},
		{"b3 without a trace", fields("b3", "0"), "", "", ""},
		{"w3c before b3", fields("b3", parent+parent+"-"+parent, "traceparent", "00-"+trace+"-"+span+"-01"), trace, span, ""},
		{"broken w3c, then b3", fields("traceparent", "00-xx", "b3", trace+"-"+span), trace, span, ""},
	} {
		m := ReadMarks(test.headers, nil)
		if m.Trace.String() != test.trace || m.Span.String() != test.span || m.Parent.String() != test.parent {
			t.Errorf("%s: got %s %s %s, want %s %s %s", test.name, m.Trace, m.Span, m.Parent, test.trace, test.span, test.parent)
		}
	}
	a, b := ReadMarks(fields("X-Request-Id", "r1"), nil), ReadMarks(fields("x-request-ID", "r1"), nil)
	if a.Trace == (events.TraceID{}) || a.Trace != b.Trace || a.Trace == ReadMarks(fields("X-Request-Id", "r2"), nil).Trace {
		t.Errorf("x-request-id: got %s and %s", a.Trace, b.Trace)
	}
}

func TestReadMarksReplayAndTags(t *testing.T) {
	m := ReadMarks(fields("tapedeck-replay", "run.7.s1", "baggage", "tenant=a;p=1, plan = b ,bad", "X-Shop", "s", "X-None", ""), []string{"X-Shop", "X-None", "X-Missing"})
	if m.ReplayID != "run.7" {
		t.Errorf("replay %q, want run.7", m.ReplayID)
	}
	got := ""
	for _, tag := range m.Tags {
		got += tag.Key + "=" + tag.Value + " "
	}
	if got != "tenant=a plan=b x-shop=s " {
		t.Errorf("tags %q", got)
	}
	m = ReadMarks(fields("baggage", strings.Repeat("k=v,", 20)+"\xff="+strings.Repeat("x", 1000)), nil)
	if len(m.Tags) != MaxTags {
		t.Errorf("%d tags, want %d", len(m.Tags), MaxTags)
	}
}

func TestSession(t *testing.T) {
	same := func(name string, want bool, a, b []*events.Field) {
		t.Helper()
		x, y := Session(a), Session(b)
		if x == (events.SessionID{}) || (x == y) != want {
			t.Errorf("%s: %s and %s, want equal %v", name, x, y, want)
		}
	}
	same("bearer", true, fields("Authorization", "Bearer a", "Cookie", "sid=1"), fields("authorization", "Bearer a"))
	same("other bearer", false, fields("Authorization", "Bearer a"), fields("Authorization", "Bearer b"))
	same("signed", true,
		fields("Authorization", "AWS4-HMAC-SHA256 Credential=K/20260101/r/s3/aws4_request, SignedHeaders=a, Signature=1"),
		fields("Authorization", "AWS4-HMAC-SHA256 Credential=K/20260102/r/s3/aws4_request, SignedHeaders=b, Signature=2"))
	same("cookie", true, fields("Cookie", "theme=dark; sid=1"), fields("Cookie", "sid=1; theme=light"))
	same("best cookie", true, fields("Cookie", "auth=x; connect.sid=1"), fields("Cookie", "connect.sid=1"))
	same("token and cookie", false, fields("Authorization", "sid=1"), fields("Cookie", "sid=1"))
	for _, none := range [][]*events.Field{nil, fields("Cookie", "theme=dark"), fields("Cookie", "csrf_token=1"), fields("Cookie", "sid=")} {
		if got := Session(none); got != (events.SessionID{}) {
			t.Errorf("%v: got %s, want none", none, got)
		}
	}
}

func TestText(t *testing.T) {
	for in, want := range map[string]string{"plain": "plain", "grün": "grün", "\xff\x00a": "%FF\x00a", "": ""} {
		if got := Text([]byte(in), 100); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
