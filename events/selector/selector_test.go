package selector

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tapedeck/events"
)

func mustParse(t testing.TB, s string) *Expr {
	t.Helper()
	e, err := Parse(s)
	if err != nil {
		t.Fatalf("Parse(%q): %v", s, err)
	}
	return e
}

func TestCanonicalForm(t *testing.T) {
	for in, want := range map[string]string{
		"":             "{}",
		" { } ":        "{}",
		"service=cart": `{service="cart"}`,
		`{service="cart" && direction=inbound && status>=500 && duration>200ms && path=~"/orders/.*"}`: `{service="cart" && direction=inbound && status>=500 && duration>200ms && path=~"/orders/.*"}`,
		"error":                                  "{error=true}",
		"!error":                                 "{!error=true}",
		"!!error=false":                          "{!!error=false}",
		"a.b=1":                                  "",
		"tag.user-id=7":                          `{tag.user-id="7"}`,
		`tag."a b"=7`:                            `{tag."a b"="7"}`,
		"status=OUT_OF_RANGE":                    "{status=OUT_OF_RANGE}",
		`status="not found"`:                     `{status="not found"}`,
		"size>10kib":                             "{size>10KiB}",
		"size>1.5MB":                             "{size>1500000}",
		"size<=1.5MiB":                           "{size<=1536KiB}",
		"duration<90s":                           "{duration<1m30s}",
		"trace=ABCDEFABCDEFABCDEFABCDEFABCDEFAB": `{trace="abcdefabcdefabcdefabcdefabcdefab"}`,
		"a":                                      "",
		"(service=a||service=b)&&!(error||status=404)": `{(service="a" || service="b") && !(error=true || status=404)}`,
		"service=a||service=b&&error":                  `{service="a" || service="b" && error=true}`,
		"service=a&&(service=b&&(error))":              `{service="a" && service="b" && error=true}`,
		`path="a\"\\\n\u00e9\d"`:                       `{path="a\"\\\né\\d"}`,
		"path='a\\b'":                                  `{path="a\\b"}`,
	} {
		e, err := Parse(in)
		if want == "" {
			if err == nil {
				t.Errorf("Parse(%q) = %s, want an error", in, e)
			}
			continue
		}
		if err != nil {
			t.Errorf("Parse(%q): %v", in, err)
			continue
		}
		if got := e.String(); got != want {
			t.Errorf("Parse(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestErrorsPointAndHelp(t *testing.T) {
	for _, c := range []struct {
		in     string
		column int
		want   string
	}{
		{`servce="a"`, 1, `unknown key "servce": keys are cluster, namespace, service, version, direction, protocol, host, method, path, endpoint, status, class, error, duration, size, session, trace, replay, tag.*`},
		{`{service}`, 9, `expected an operator after service, found "}": operators are = != =~ !~`},
		{`service>"a"`, 8, `operator > does not fit service: operators are = != =~ !~`},
		{`duration=~"1"`, 9, `operator =~ does not fit duration: operators are = != > >= < <=`},
		{`service=="a"`, 8, `unknown operator "==": write =`},
		{`service="a", path="b"`, 12, `unexpected ",": conditions are joined with && or ||`},
		{`service="a" and path="b"`, 13, `conditions are joined with && or ||`},
		{`service="a" & path="b"`, 13, `conditions are joined with && or ||`},
		{`service="a`, 9, `the quoted text does not end: close it with "`},
		{`{service="a"`, 13, `expected && or || or }, found the end`},
		{`service="a"}`, 12, `one pair of braces may stand around the whole`},
		{`(service="a"`, 13, `expected && or || or ), found the end`},
		{`service="a")`, 12, `there is no ( for it`},
		{`service=`, 9, `expected a value after service=, found the end`},
		{`endpoint=/users/{id}`, 17, `quote values that hold braces`},
		{`duration>200`, 10, `the duration "200" has no unit: write 200ms or 200s`},
		{`duration>fast`, 10, `"fast" is not a duration: write 200ms, 1.5s or 1m30s`},
		{`duration>1ns`, 10, `durations are whole microseconds`},
		{`size>5XB`, 6, `"5XB" is not a size: write 512, 10KiB or 1.5MB`},
		{`size>0.3KiB`, 6, `not a whole number of bytes`},
		{`status>=5xx`, 9, `"5xx" is not a number of 1 to 9 digits`},
		{`direction=in`, 11, `direction is never "in": it is inbound, outbound`},
		{`error=yes`, 7, `"yes" is neither true nor false`},
		{`tag.=1`, 1, `a tag needs a name: write tag.NAME or tag."NAME"`},
		{`path=~"/é/\d+"`, 11, `\d is read differently by the engines: write [0-9]`},
		{`path=~"a(?=b)"`, 9, `(? is taken only as (?:…) and as (?i) at the head: =~ takes literals, .`},
		{`path=~"a*?"`, 10, `a repetition cannot be repeated, and there are no lazy or possessive ones`},
		{`path=~"\\\\(b"`, 12, `this ( is never closed`},
		{`path=~"[z-a]"`, 10, `the range "z-a" runs backwards`},
		{`path=~"[[:alpha:]]"`, 9, `[: [. and [= are not taken inside []`},
		{`path=~"a{2,1}"`, 9, `{m,n} wants m ≤ n ≤ 255`},
		{`path=~"((a{200}){9})"`, 17, `the expression is too big`},
		{`path=~"a||b"`, 10, `an alternative is empty`},
		{"path=\"\x00\"", 7, "zero byte"},
		{"path=\"\xff\"", 1, "not valid UTF-8"},
		{strings.Repeat("(", 40) + "error" + strings.Repeat(")", 40), 33, "too deep: at most 32"},
		{strings.Repeat("error&&", 300) + "error", 1793, "too many conditions: at most 256"},
	} {
		_, err := Parse(c.in)
		if err == nil {
			t.Errorf("Parse(%q): no error, want %q", c.in, c.want)
			continue
		}
		syntax := err.(*SyntaxError)
		if syntax.Column != c.column || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Parse(%.60q): %v\nwant column %d and %q", c.in, err, c.column, c.want)
		}
	}
}

func TestPointer(t *testing.T) {
	_, err := Parse("service=cart && stats=200")
	got := err.(*SyntaxError).Pointer()
	if want := "service=cart && stats=200\n                ^"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func exampleRow() *events.Row {
	return &events.Row{
		Cluster: "eu", Namespace: "shop", Service: "cart", Version: "1.2",
		Direction: events.Direction_INBOUND, Protocol: "http", Host: "cart.shop", Method: "GET",
		Template: "/orders/{id}", Path: "/orders/7", Status: "503", Class: events.StatusClass_SERVER,
		Duration: 250 * time.Millisecond, RequestBytes: 10, ResponseBytes: 1014,
		Session: events.SessionID{1}, Trace: events.TraceID{0xab},
		Tags: []*events.Tag{{Key: "user", Value: "7"}, {Key: "user", Value: "8"}, {Key: "empty"}},
	}
}

func TestMatch(t *testing.T) {
	row := exampleRow()
	for in, want := range map[string]bool{
		"":                                           true,
		"cluster=eu && namespace=shop":               true,
		"service=Cart":                               false,
		"service=~'(?i)CART'":                        true,
		"service=~'car'":                             false,
		"service=~'car.'":                            true,
		"service!~'car.'":                            false,
		"version=1.2":                                true,
		"direction=inbound":                          true,
		"direction!=inbound":                         false,
		"direction=~'out.*'":                         false,
		"class=server && error && error!=false":      true,
		"!error || method=POST":                      false,
		"status=503 && status>=500":                  true,
		"status>503":                                 false,
		"status<600":                                 true,
		"duration>200ms && duration<=250ms":          true,
		"duration=250ms":                             true,
		"size=1KiB && size>=1024 && size<1025":       true,
		"endpoint='/orders/{id}'":                    true,
		"endpoint=~'/orders/{id}'":                   true,
		"path=~'/orders/[0-9]+'":                     true,
		"path=~'/orders/[0-9]{2,}'":                  false,
		"session=01000000000000000000000000000000":   true,
		"trace=AB000000-0000-0000-0000-000000000000": true,
		"trace!=''":                                  true,
		"tag.user=7":                                 true,
		"tag.user=8":                                 false,
		"tag.empty='' && tag.none=''":                true,
		"tag.none!=x":                                true,
		"replay=''":                                  true,
		"replay!=''":                                 false,
	} {
		if got := mustParse(t, in).Match(row); got != want {
			t.Errorf("%s: %v, want %v", in, got, want)
		}
	}
}

func TestMissingAndOddValues(t *testing.T) {
	for in, row := range map[string]*events.Row{
		"trace='' && session='' && version='' && direction!=inbound && class!=ok": {},
		"status='' && !status>0 && !status<1":                                     {},
		"!status>=0":                                                              {Status: "OUT_OF_RANGE"},
		"status=040 && status<41":                                                 {Status: "040"},
		"!status>0":                                                               {Status: "1234567890"},
		"replay=unknown":                                                          {Replay: true},
		"replay=r1":                                                               {Replay: true, ReplayID: "r1"},
		"replay='' ":                                                              {ReplayID: "not the endpoint's"},
		"size>1GB":                                                                {RequestBytes: 1 << 62, ResponseBytes: 1 << 62},
		"path=~'a.b' && path=~'a[^x]b'":                                           {Path: "a\nb"},
		"path=~'(?i)[a-c]k'":                                                      {Path: "BK"},
		"path!~'(?i)k'":                                                           {Path: "\u212a"}, // the Kelvin sign is no letter k
	} {
		if !mustParse(t, in).Match(row) {
			t.Errorf("%s does not match %v", in, row)
		}
	}
}

func TestExcludeReplays(t *testing.T) {
	for in, want := range map[string]string{
		"":                     `{replay=""}`,
		"service=a":            `{service="a" && replay=""}`,
		"service=a||service=b": `{(service="a" || service="b") && replay=""}`,
		"!replay=r1":           `{!replay="r1"}`,
		"replay=~'.*'":         `{replay=~".*"}`,
	} {
		if got := ExcludeReplays(mustParse(t, in)).String(); got != want {
			t.Errorf("ExcludeReplays(%s) = %s, want %s", in, got, want)
		}
	}
	if got := ExcludeReplays(nil).String(); got != `{replay=""}` {
		t.Errorf("ExcludeReplays(nil) = %s", got)
	}
}

func TestEquals(t *testing.T) {
	e, err := Equals("service", `a"b\`)
	if err != nil || !e.Match(&events.Row{Service: `a"b\`}) {
		t.Errorf("got %s, %v", e, err)
	}
	if _, err := Equals("nonsense", "a"); err == nil {
		t.Error("an unknown key gives no error")
	}
}

// Nothing of what comes from elsewhere becomes more than one condition.
func TestCompare(t *testing.T) {
	row := &events.Row{Service: `a" || error`, Status: "503", Tags: []*events.Tag{{Key: `x" y`, Value: "1"}}}
	for _, c := range []struct {
		key   string
		op    Op
		value string
		match bool
	}{
		{"service", Equal, `a" || error`, true}, {"service", NotEqual, `a" || error`, false},
		{"service", Matches, `a.*`, true}, {"status", GreaterOrEqual, "500", true}, {`tag.x" y`, Equal, "1", true},
		{"error", Equal, "true", false}, {"class", Equal, "ok", false},
	} {
		e, err := Compare(c.key, c.op, c.value)
		if err != nil || e.Kind != Is || e.Match(row) != c.match {
			t.Errorf("%s %s %q: got %s %v, want a match: %v", c.key, c.op, c.value, e, err, c.match)
		}
	}
	for _, c := range [][3]string{
		{`service="a" || host`, "=", "b"}, {"service", `="a" || host=`, "b"}, {"service", ">", "b"}, {"tag", "=", "b"}, {"service", "=~", "("},
	} {
		if e, err := Compare(c[0], Op(c[1]), c[2]); err == nil {
			t.Errorf("%q became %s", c, e)
		}
	}
}

func TestManualNamesEveryKey(t *testing.T) {
	for _, k := range keys {
		in := string(k.key)
		if k.key == Tag {
			in = "tag.x"
		}
		value := map[Type]string{Enumeration: "direction", Bool: "true", Microseconds: "1s", Bytes: "1"}[k.kind]
		if k.kind == Enumeration {
			value = words[k.key][0]
		}
		if value == "" {
			value = "x"
		}
		mustParse(t, fmt.Sprintf("%s=%s", in, value))
	}
}

var sameExpr = cmp.Options{cmpopts.IgnoreUnexported(Condition{}), cmpopts.EquateEmpty()}

// The law: nothing panics, and what parses prints to a form that parses to
// the same and matches the same.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"", "{}", `{service="cart" && direction=inbound && status>=500 && duration>200ms && path=~"/orders/.*"}`,
		"!(error || size>10KiB) && tag.x=~'(?i)[^a-c]{2,3}|b?$'", `tag."a\u0001"='x' || trace!=` + "`ab`",
		"status<=5 && !!error=false", "duration=1m30s", `path=~"\\(a\.b"`, "((((", "replay!~'^(a|b)+$'",
	} {
		f.Add(s)
	}
	row := exampleRow()
	f.Fuzz(func(t *testing.T, s string) {
		e, err := Parse(s)
		if err != nil {
			syntax := err.(*SyntaxError)
			if syntax.Column < 1 || syntax.Problem == "" {
				t.Fatalf("Parse(%q): error without a column or a problem: %#v", s, syntax)
			}
			return
		}
		again, err := Parse(e.String())
		if err != nil {
			t.Fatalf("Parse(%q) prints as %q: %v", s, e, err)
		}
		if diff := cmp.Diff(e, again, sameExpr); diff != "" {
			t.Fatalf("Parse(%q) prints as %q, which is another:\n%s", s, e, diff)
		}
		if e.Match(row) != again.Match(row) {
			t.Fatalf("%q and its canonical form %q match differently", s, e)
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	e, row := mustParse(b, `{service="cart" && direction=inbound && status>=500 && duration>200ms && path=~"/orders/.*"}`), exampleRow()
	b.ReportAllocs()
	for b.Loop() {
		if !e.Match(row) {
			b.Fatal("no match")
		}
	}
}
