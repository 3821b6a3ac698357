package cli

import (
	"bytes"
	"compress/gzip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tapedeck/events"
)

func TestTableAlignsAndCuts(t *testing.T) {
	env, out := captured()
	env.Width = 30
	list := &table{head: []string{"NAME", "N", "PATH"}}
	list.add(cell{text: "größer"}, number(7), cell{text: "/a"})
	list.add(cell{text: "x"}, number(1234), cell{text: "/a/very/long/path/that/goes/on"})
	list.print(env)
	want := "" +
		"NAME       N  PATH\n" +
		"größer     7  /a\n" +
		"x       1234  /a/very/long/pa…\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestColoursAreForTerminals(t *testing.T) {
	env, _ := captured()
	if got := env.paint(red, "x"); got != "x" {
		t.Errorf("paint without colour = %q", got)
	}
	env.Color = true
	if got, want := env.paint(red, "x"), "\x1b[31mx\x1b[0m"; got != want {
		t.Errorf("paint = %q, want %q", got, want)
	}
}

func TestShort(t *testing.T) {
	durations := map[time.Duration]string{
		0: "-", 250 * time.Microsecond: "250µs", 1234 * time.Microsecond: "1.23ms", 12345 * time.Millisecond: "12.3s", 90 * time.Minute: "1h30m0s",
	}
	for d, want := range durations {
		if got := shortDuration(d); got != want {
			t.Errorf("shortDuration(%d) = %s, want %s", d, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1536: "1.5 KiB", 20 << 20: "20 MiB"} {
		if got := shortBytes(n); got != want {
			t.Errorf("shortBytes(%d) = %s, want %s", n, got, want)
		}
	}
	for _, c := range []struct {
		n         int
		one, want string
	}{{1, "exchange", "1 exchange"}, {2, "exchange", "2 exchanges"}, {2, "dependency", "2 dependencies"}, {0, "miss", "0 misses"}} {
		if got := plural(c.n, c.one); got != c.want {
			t.Errorf("plural(%d, %s) = %s, want %s", c.n, c.one, got, c.want)
		}
	}
}

func TestDrawing(t *testing.T) {
	if got, want := sparkline([]float64{0, 1, 4, 8}), " ▂▅█"; got != want {
		t.Errorf("sparkline = %q, want %q", got, want)
	}
	for share, want := range map[float64]string{0: "", 0.001: "▏", 0.5: "██", 1: "████", 2: "████"} {
		if got := bar(share, 4); got != want {
			t.Errorf("bar(%v) = %q, want %q", share, got, want)
		}
	}
}

func zipped(t *testing.T, s string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(s)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestBodiesAreReadable(t *testing.T) {
	for _, c := range []struct {
		name, coding string
		data         []byte
		want         string
	}{
		{"JSON is indented", "", []byte(`{"a":[1]}`), "\"a\": [\n"},
		{"gzip is undone", "gzip", zipped(t, `{"a":1}`), "\"a\": 1"},
		{"text is text", "", []byte("hello\r\nworld"), "hello\n  world"},
		{"bytes are hex", "", []byte{0, 1, 0xff, 'x'}, "00000000  00 01 ff 78"},
		{"escape sequences do not reach the terminal", "", []byte("\x1b]0;owned\x07"), "1b 5d 30 3b"},
		{"a wrong coding is shown as sent", "gzip", []byte("plain"), "shown as it was sent"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			printBody(&out, &events.Body{Data: c.data, Size: int64(len(c.data)), Kept: int64(len(c.data))}, c.coding)
			if !strings.Contains(out.String(), c.want) || strings.ContainsAny(out.String(), "\x1b\x07") {
				t.Errorf("got %q, want %q in it", out.String(), c.want)
			}
		})
	}
}

func TestTruncatedBodySaysSo(t *testing.T) {
	var out bytes.Buffer
	printBody(&out, &events.Body{Data: []byte("abc"), Size: 2048, Kept: 3}, "")
	if !strings.Contains(out.String(), "--max-body") {
		t.Errorf("got %q", out.String())
	}
}

func TestVerdictCodes(t *testing.T) {
	for verdict, want := range map[events.Verdict]int{events.Passed: 0, events.Missed: 1, events.Incomplete: 2, events.Errored: 2} {
		if got := ExitCode(verdictCode(verdict)); got != want {
			t.Errorf("exit code of %s = %d, want %d", verdict, got, want)
		}
	}
}

func TestVerdictShowsWhatDiffers(t *testing.T) {
	env, out := captured()
	var diffs []events.Difference
	for range diffsShown + 2 {
		diffs = append(diffs, events.Difference{Place: "response.body.$.total", Want: "1080", Got: ""})
	}
	printVerdict(env, &events.ReplayResult{
		Verdict: events.Missed, Scenario: "checkout", Target: "http://x", Tests: events.Checked{Total: 2, Passed: 1, Missed: 1},
		Misses: []events.Miss{{Method: "POST", Path: "/orders", Diffs: diffs}},
		Mocks:  []events.MockResult{{Dependency: "payments", Served: 1, Missed: 1, Misses: []events.MockMiss{{Method: "GET", Path: "/x"}}}},
	})
	for _, want := range []string{"MISSED  checkout", "POST /orders", "response.body.$.total  want 1080, got nothing", "and 2 differences more", "no recorded answer fits GET /x"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
}

func TestProgressAddsUpShards(t *testing.T) {
	env, out := captured()
	env.Live, env.Width = true, 100
	p := newReplayProgress(env)
	p.show(events.ReplayProgress{Shard: 0, Elapsed: 2 * time.Second, Planned: 10, Tests: events.Checked{Passed: 4, Missed: 1}})
	p.show(events.ReplayProgress{Shard: 1, Elapsed: time.Second, Planned: 10, Tests: events.Checked{Passed: 5}})
	p.show(events.ReplayProgress{Shard: 0, Elapsed: time.Second, Planned: 10}) // late
	if want := "10 of 20, 9 passed, 1 missed"; !strings.Contains(out.String()[strings.LastIndexByte(out.String(), '\r'):], want) {
		t.Errorf("no %q in %q", want, out.String())
	}
}
