package traffic

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"tapedeck/events"
)

// newRandom prints its seed; TAPEDECK_SEED repeats a run.
func newRandom(t testing.TB) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if s, err := strconv.ParseUint(os.Getenv("TAPEDECK_SEED"), 10, 64); err == nil {
		seed = s
	}
	t.Logf("repeat with TAPEDECK_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, seed))
}

func pick[T any](r *rand.Rand, list ...T) T { return list[r.IntN(len(list))] }

// Few values, so that conditions and rows meet; awkward ones among them.
var (
	randomNames    = []string{"cart", "orders", "Orders", "a\"b\\c", "", "é-ü", "or.ers", "a%b_c", "new\nline"}
	randomHosts    = []string{"orders.shop", "pay.example", "localhost:8081", "", "orders"}
	randomPaths    = []string{"/", "/orders/7", "/orders/8/items", "/ORDERS/7", "/é", "/a\nb", "/a.b", "/(x)|[y]{2}^$", "/kK\u212a", "/ſs", ""}
	randomStatuses = []string{"200", "404", "503", "0404", "", "OUT_OF_RANGE", "1234567890", "42601", "99", "-1"}
	randomTags     = []string{"user", "x y", "é", "a.b-c"}
)

func randomEntry(r *rand.Rand, from time.Time, length time.Duration) *events.Entry {
	at := from.Add(time.Duration(r.Int64N(int64(length))))
	if r.IntN(10) == 0 {
		at = from.Add(length / 3) // several at one time
	}
	e := entryAt(at)
	e.DurationUs = pick(r, 0, 1, 1000, 200_000, r.Int64N(3_000_000), int64(r.ExpFloat64()*30_000))
	e.TtfbUs = e.DurationUs / 2
	e.Path, e.Status = pick(r, randomPaths...), pick(r, randomStatuses...)
	e.Class = events.StatusClass(r.IntN(6)) // unknown ones too
	e.RequestBytes, e.ResponseBytes = pick(r, 0, 10, 1024, r.Int64N(5000), 1<<62), pick(r, 0, 10, r.Int64N(50_000), 1<<62, -5)
	e.Session, e.Connection = randomID(r, 3), randomID(r, 20)
	if r.IntN(2) == 0 {
		e.TraceId = randomID(r, 6)
		e.SpanId, e.ParentSpanId = randomSpan(r, 12), randomSpan(r, 12)
	}
	for range r.IntN(4) {
		e.Tags = append(e.Tags, &events.Tag{Key: pick(r, randomTags...), Value: pick(r, randomNames...)})
	}
	return e
}

// randomID is one of n ids, or none.
func randomID(r *rand.Rand, n int) []byte {
	b := make([]byte, 16)
	b[0] = byte(r.IntN(n + 1))
	b[15] = b[0]
	return pick(r, b, b, nil)
}

func randomSpan(r *rand.Rand, n int) []byte {
	b := make([]byte, 8)
	b[0] = byte(r.IntN(n + 1))
	return pick(r, b, b, nil)
}

func randomEndpoint(r *rand.Rand) *events.Endpoint {
	return &events.Endpoint{
		Direction: pick(r, events.Direction_INBOUND, events.Direction_OUTBOUND), Protocol: pick(r, "http", "postgres", "grpc"),
		Host: pick(r, randomHosts...), Method: pick(r, "GET", "POST", ""), Template: pick(r, "/orders/{id}", "/{x}", "/"),
		Replay: r.IntN(8) == 0,
	}
}

// randomTapes have about n exchanges of several services from a time on, some
// of them still open, some of those twice.
func randomTapes(t testing.TB, r *rand.Rand, n int, from time.Time, length time.Duration) []Received {
	t.Helper()
	var tapes []Received
	for n > 0 {
		s := newSource(pick(r, randomNames[:5]...))
		if s.workload.Service == "" {
			s.workload.Service = "empty"
		}
		s.workload.Cluster, s.workload.Namespace = pick(r, "c1", "c2"), pick(r, "shop", "")
		s.workload.Version, s.workload.Instance = pick(r, "", "1", "2.0"), pick(r, "", "i-1")
		var list, open []exchange
		for range min(n, 1+r.IntN(200)) {
			x := exchange{randomEntry(r, from, length), randomEndpoint(r)}
			if x.Endpoint.Replay {
				x.Entry.ReplayId = pick(r, "", "r1", "r2")
			}
			if r.IntN(20) == 0 {
				open = append(open, x)
			}
			if r.IntN(40) != 0 {
				list = append(list, exchange{cloneEntry(x.Entry), x.Endpoint})
			}
			n--
		}
		if len(open) > 0 {
			x := open[0]
			again := cloneEntry(x.Entry)
			again.DurationUs += 1_000_000
			tapes = append(tapes, s.tape(t, from.Add(length), nil, exchange{again, x.Endpoint}))
		}
		tapes = append(tapes, s.tape(t, from.Add(length), list, open...))
	}
	return tapes
}

func cloneEntry(e *events.Entry) *events.Entry {
	c := entryAt(time.Unix(0, int64(e.Time)))
	c.Id, c.DurationUs, c.TtfbUs, c.Path, c.Status, c.Class = e.Id, e.DurationUs, e.TtfbUs, e.Path, e.Status, e.Class
	c.RequestBytes, c.ResponseBytes, c.Session, c.Connection = e.RequestBytes, e.ResponseBytes, e.Session, e.Connection
	c.TraceId, c.SpanId, c.ParentSpanId, c.ReplayId, c.Tags = e.TraceId, e.SpanId, e.ParentSpanId, e.ReplayId, e.Tags
	return c
}

// scanOf is the twin of an index that has the tapes.
func scanOf(t testing.TB, tapes []Received) *Scan {
	t.Helper()
	var rows []events.Row
	for _, tape := range tapes {
		list, err := RowsOf(tape.Front)
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, list...)
	}
	return &Scan{Rows: func() iter.Seq2[events.Row, error] {
		return func(yield func(events.Row, error) bool) {
			for _, r := range rows {
				if !yield(r, nil) {
					return
				}
			}
		}
	}}
}

// randomSelector is the text of one, up to a depth.
func randomSelector(r *rand.Rand, depth int) string {
	if depth == 0 || r.IntN(3) == 0 {
		return randomCondition(r)
	}
	switch r.IntN(4) {
	case 0:
		return "!(" + randomSelector(r, depth-1) + ")"
	case 1:
		return "(" + randomSelector(r, depth-1) + " || " + randomSelector(r, depth-1) + ")"
	}
	return randomSelector(r, depth-1) + " && " + randomSelector(r, depth-1)
}

func randomCondition(r *rand.Rand) string {
	order := func() string { return pick(r, "=", "!=", ">", ">=", "<", "<=") }
	switch r.IntN(8) {
	case 0:
		return "duration" + order() + pick(r, "0s", "1us", "1ms", "200ms", "1.5s")
	case 1:
		return "size" + order() + pick(r, "0", "10", "20", "1KiB", "10kB", "4GiB")
	case 2:
		return "error" + pick(r, "", "=true", "!=true", "=false")
	case 3:
		return "status" + pick(r, ">", ">=", "<", "<=") + pick(r, "0", "99", "404", "500", "42601")
	}
	key := pick(r, "cluster", "namespace", "service", "version", "direction", "protocol", "host", "method",
		"path", "endpoint", "status", "class", "session", "trace", "replay", "tag")
	values := map[string][]string{
		"cluster": {"c1", "c2"}, "namespace": {"shop", ""}, "service": randomNames, "version": {"", "1", "2.0"},
		"direction": {"inbound", "outbound"}, "protocol": {"http", "postgres", "grpc"}, "host": randomHosts,
		"method": {"GET", "POST", ""}, "path": randomPaths, "endpoint": {"/orders/{id}", "/{x}", "/"},
		"status": randomStatuses, "class": {"ok", "client", "server", "failed"},
		"session": randomIDs, "trace": randomIDs, "replay": {"", "r1", "r2", "unknown"}, "tag": randomNames,
	}
	value := pick(r, values[key]...)
	operator := pick(r, "=", "!=", "=~", "!~")
	if strings.HasSuffix(operator, "~") {
		value = randomPattern(r, value)
	}
	if key == "tag" {
		key = "tag." + strconv.Quote(pick(r, randomTags...))
	}
	return fmt.Sprintf("%s%s%s", key, operator, quoted(value))
}

var randomIDs = []string{
	"", "00000000000000000000000000000000", "01000000000000000000000000000001", "02000000-0000-0000-0000-000000000002",
	"03000000000000000000000000000003", "no id",
}

// quoted is a selector's text; backquotes have no escapes.
func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}

// randomPattern makes a regular expression that may match the value.
func randomPattern(r *rand.Rand, value string) string {
	var b strings.Builder
	if r.IntN(4) == 0 {
		b.WriteString("(?i)")
	}
	for _, c := range value {
		literal := string(c)
		if strings.ContainsRune(`\.+*?()|[]{}^$`, c) {
			literal = `\` + literal
		}
		switch r.IntN(10) {
		case 0:
			b.WriteString(pick(r, ".", ".?", "[^x]", "[a-zA-Z0-9/]", "[^a-m]"))
		case 1:
			b.WriteString(pick(r, ".*", ".+", "(.*)", "(?:.|x)+"))
		case 2:
			b.WriteString("(" + literal + "|zz)" + pick(r, "", "?", "+", "{1,3}", "{0,2}", "{1}", "{1,}"))
		case 3:
			b.WriteString(strings.ToUpper(literal))
		default:
			b.WriteString(literal)
		}
	}
	return b.String() + pick(r, "", "", "", ".*", "|x", "$", "^")
}
