package capture

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tapedeck/events"
	"tapedeck/internal/natstest"
	"tapedeck/internal/service"
	"tapedeck/wire"
)

// echo answers with the request's body.
func echo(t testing.TB) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
		w.Write(body)
	}))
	t.Cleanup(s.Close)
	return s
}

func client(t testing.TB, proxy string) *http.Client {
	tr := &http.Transport{}
	if proxy != "" {
		u, err := url.Parse(proxy)
		if err != nil {
			t.Fatal(err)
		}
		tr.Proxy = http.ProxyURL(u)
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 20 * time.Second}
}

func post(t testing.TB, c *http.Client, url, contentType string, body []byte) []byte {
	t.Helper()
	answer, err := c.Post(url, contentType, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	got, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != 200 {
		t.Fatalf("POST %s: %d %q, %v", url, answer.StatusCode, got, err)
	}
	return got
}

// random makes n bytes that don't compress, the same for the same n.
func random(n int) []byte {
	out := make([]byte, 0, n+32)
	for i := 0; len(out) < n; i++ {
		sum := sha256.Sum256([]byte(strconv.Itoa(n) + "." + strconv.Itoa(i)))
		out = append(out, sum[:]...)
	}
	return out[:n]
}

func TestBodiesOfEverySize(t *testing.T) {
	for _, block := range []string{"drop", "block"} {
		_, js := natstest.New(t)
		c := start(t, Config{Inbound: []string{"0=" + address(echo(t))}, OnPressure: block}, Deps{JS: js})
		web := client(t, "")
		sizes := []int{0, 1, 1000, 4096, 64 << 10, 256<<10 - 1, 256 << 10, 256<<10 + 1, 1 << 20, 5 << 20}
		for _, n := range sizes {
			if got := post(t, web, c.url(0), "application/octet-stream", random(n)); !bytes.Equal(got, random(n)) {
				t.Fatalf("client got %d bytes, want %d", len(got), n)
			}
			// At full speed 5 MiB at once may be dropped: that is not what is tested here.
			eventually(t, "dissected", func() bool { return c.budget.used.Load() == 0 })
		}
		c.stop()
		out := play(t, tapesOf(t, js))
		if len(out.rows) != len(sizes) {
			t.Fatalf("%s: recorded %d exchanges of %d: %v", block, len(out.rows), len(sizes), out.last.Counters)
		}
		for i, x := range out.exchanges {
			if !bytes.Equal(x.Request.Body.Data, random(sizes[i])) || !bytes.Equal(x.Response.Body.Data, random(sizes[i])) {
				t.Errorf("%s: exchange of %d bytes: recorded %d and %d", block, sizes[i], len(x.Request.Body.Data), len(x.Response.Body.Data))
			}
			if r := out.rows[i]; r.RequestBytes != int64(sizes[i]) || r.ResponseBytes != int64(sizes[i]) || r.Flags != 0 {
				t.Errorf("%s: row %+v, want %d bytes and no flag", block, r, sizes[i])
			}
		}
	}
}

func TestMaxBodyTruncates(t *testing.T) {
	for _, limit := range []Bytes{1000, 300 << 10} {
		_, js := natstest.New(t)
		c := start(t, Config{Inbound: []string{"0=" + address(echo(t))}, MaxBody: limit, Redact: "headers"}, Deps{JS: js}) // with all rules less: the last value may be half of one
		post(t, client(t, ""), c.url(0), "application/octet-stream", random(800<<10))
		c.stop()
		out := play(t, tapesOf(t, js))
		if len(out.rows) != 1 {
			t.Fatalf("recorded %d, want 1: %v", len(out.rows), out.last.Counters)
		}
		b := out.exchanges[0].Response.Body
		if !bytes.Equal(b.Data, random(800 << 10)[:limit]) || b.Size != 800<<10 || b.Kept != int64(limit) || len(b.Hmac) != 32 {
			t.Errorf("limit %d: %d bytes, size %d, kept %d, hmac of %d bytes", limit, len(b.Data), b.Size, b.Kept, len(b.Hmac))
		}
		if out.rows[0].Flags&uint32(events.Flag_TRUNCATED) == 0 || out.rows[0].ResponseBytes != 800<<10 {
			t.Errorf("limit %d: row %+v", limit, out.rows[0])
		}
	}
}

// TestNothingUnredactedIsWritten puts a secret into every place that is
// redacted, and looks for it in every byte that was stored.
func TestNothingUnredactedIsWritten(t *testing.T) {
	const secret = "canary-5f0c1d"
	filler := strings.Repeat(`{"n":1,"text":"`+strings.Repeat("x", 500)+`"},`, 1000)
	long := `{"token":"` + secret + `","list":[` + filler + `{"refresh_token":"` + secret + `"}],"api_key":"` + secret + `"}`
	_, js := natstest.New(t)
	dir := t.TempDir()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Set-Cookie", "sid="+secret+"; Path=/")
		w.Header().Set("Content-Type", "application/json")
		w.Write(body)
	}))
	defer app.Close()
	for _, mode := range []string{"headers", "off"} {
		c := start(t, Config{Inbound: []string{"0=" + address(app)}, Redact: mode}, Deps{JS: js, Data: dir})
		for _, body := range []string{`{"token":"` + secret + `"}`, long} {
			request, _ := http.NewRequest("POST", c.url(0)+"/login?access_token="+secret, strings.NewReader(body))
			request.Header.Set("Authorization", "Bearer "+secret)
			request.Header.Set("Cookie", "sid="+secret)
			request.Header.Set("X-Api-Key", secret)
			request.Header.Set("Content-Type", "application/json")
			answer, err := client(t, "").Do(request)
			if err != nil {
				t.Fatal(err)
			}
			got, _ := io.ReadAll(answer.Body)
			answer.Body.Close()
			if string(got) != body || answer.Header.Get("Set-Cookie") != "sid="+secret+"; Path=/" {
				t.Error("the client sees redaction")
			}
		}
		c.stop()
	}
	hits := map[string]int{}
	var redacted []*events.Tape
	for _, tape := range tapesOf(t, js) {
		mode := "off"
		if tape.Header.RedactionKeyId != "" {
			mode = "headers"
		}
		hits[mode] += bytes.Count(tape.Bytes()[tape.Size:], []byte(secret))
		for i := range tape.Index.Blocks {
			raw, err := tape.Block(uint32(i))
			if err != nil {
				t.Fatal(err)
			}
			hits[mode] += bytes.Count(raw, []byte(secret))
		}
		hits[mode] += strings.Count(tape.Index.String(), secret)
		if mode == "headers" {
			redacted = append(redacted, tape)
		}
	}
	checkRedacted(t, play(t, redacted))
	if hits["headers"] != 0 || hits["off"] < 10 {
		t.Errorf("secret found %v times, want none with redaction and many without", hits)
	}
}

func checkRedacted(t *testing.T, out *recorded) {
	t.Helper()
	for i, x := range out.exchanges {
		token := strings.TrimPrefix(events.HeaderValue(x.Request.Headers, "Authorization"), "Bearer ")
		if !wire.IsToken(token) || !bytes.Contains(x.Request.Body.Data, []byte(`"token":"`+token+`"`)) || !bytes.Contains(x.Response.Body.Data, []byte(token)) {
			t.Errorf("exchange %d: token %q is not the same in header and bodies", i, token)
		}
		sent, _ := strconv.ParseInt(events.HeaderValue(x.Request.Headers, "Content-Length"), 10, 64)
		if r := out.rows[i]; r.RequestBytes != sent || r.ResponseBytes != sent || sent == x.Request.Body.Size {
			t.Errorf("exchange %d: the row has %d bytes sent and %d received, want %d as before redaction", i, r.RequestBytes, r.ResponseBytes, sent)
		}
		if r := out.rows[i]; r.Flags != uint32(events.Flag_REDACTED) {
			t.Errorf("exchange %d: flags %d, want redacted only", i, r.Flags)
		}
		if len(x.Response.Body.Hmac) != 32 || x.Response.Body.Size != int64(len(x.Response.Body.Data)) {
			t.Errorf("exchange %d: hmac of %d bytes, size %d of %d", i, len(x.Response.Body.Hmac), x.Response.Body.Size, len(x.Response.Body.Data))
		}
	}
}

func TestHTTPProxy(t *testing.T) {
	_, js := natstest.New(t)
	var origins []*httptest.Server
	for range 2 {
		origins = append(origins, httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			if r.Header.Get("Proxy-Authorization") != "" || r.Header.Get("Proxy-Connection") != "" {
				t.Error("the origin sees Proxy-* headers")
			}
			fmt.Fprintf(w, "%s %s %s %s", r.Method, r.RequestURI, r.Host, body)
		})))
		defer origins[len(origins)-1].Close()
	}
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "over TLS") }))
	defer secure.Close()
	c := start(t, Config{Outbound: []string{"0"}}, Deps{JS: js})
	web := client(t, strings.Replace(c.url(0), "://", "://user:password@", 1))
	for i := range 6 {
		origin := origins[i%2]
		want := fmt.Sprintf("POST /a/%d?b=c %s body", i, address(origin))
		if got := post(t, web, fmt.Sprintf("%s/a/%d?b=c", origin.URL, i), "text/plain", []byte("body")); string(got) != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	tls := secure.Client()
	tls.Transport.(*http.Transport).Proxy = web.Transport.(*http.Transport).Proxy
	answer, err := tls.Get(secure.URL)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := io.ReadAll(answer.Body); string(got) != "over TLS" {
		t.Errorf("through the tunnel: %q", got)
	}
	answer.Body.Close()
	tls.CloseIdleConnections()
	web.CloseIdleConnections()
	c.stop()
	out := play(t, tapesOf(t, js))
	seen := map[string]int{}
	for i, r := range out.rows {
		seen[fmt.Sprintf("%s %s %s %s %s", r.Protocol, r.Method, r.Template, r.Status, r.Class.Name())]++
		if r.Direction != events.Direction_OUTBOUND {
			t.Errorf("row %d is %s", i, r.Direction)
		}
		if r.Protocol == "tcp" && (r.Host != address(secure) || r.RequestBytes == 0 || r.ResponseBytes == 0) {
			t.Errorf("tunnel: %+v", r)
		}
		if r.Protocol == "http" && r.Host != address(origins[0]) && r.Host != address(origins[1]) {
			t.Errorf("host %q", r.Host)
		}
	}
	if seen["http POST /a/{id} 200 ok"] != 6 || seen["tcp CONNECT   ok"] != 1 || len(out.rows) != 7 {
		t.Errorf("recorded %v", seen)
	}
}

func TestHTTPProxyRefuses(t *testing.T) {
	c := start(t, Config{Outbound: []string{"0"}}, Deps{})
	for name, test := range map[string]struct{ request, status string }{
		"origin form":        {"GET /a HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
		"bare line feeds":    {"GET http://x/ HTTP/1.1\nHost: x\n\n", "400"},
		"length and chunked": {"POST http://x/ HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"},
		"folded":             {"GET http://x/ HTTP/1.1\r\nA: b\r\n c\r\n\r\n", "400"},
		"blank before colon": {"GET http://x/ HTTP/1.1\r\nHost : x\r\n\r\n", "400"},
		"bad length":         {"GET http://x/ HTTP/1.1\r\nContent-Length: 1x\r\n\r\n", "400"},
		"https":              {"GET https://x/ HTTP/1.1\r\n\r\n", "400"},
		"no host":            {"CONNECT :443 HTTP/1.1\r\n\r\n", "400"},
		"nobody there":       {"GET http://127.0.0.1:1/ HTTP/1.1\r\nHost: x\r\n\r\n", "502"},
		"no tunnel":          {"CONNECT 127.0.0.1:1 HTTP/1.1\r\n\r\n", "502"},
		"endless head":       {"GET http://x/ HTTP/1.1\r\nA: " + strings.Repeat("x", 200<<10), "400"},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", c.Addrs()[0].String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(10 * time.Second))
			go io.WriteString(conn, test.request)
			b := make([]byte, 12)
			if _, err := io.ReadFull(conn, b); err != nil || string(b) != "HTTP/1.1 "+test.status {
				t.Errorf("got %q, %v, want status %s", b, err, test.status)
			}
		})
	}
	c.stop()
	counts := c.Counts()
	if counts.Begun != 2 || counts.Taped != 2 {
		t.Errorf("%+v, want the two that were sent to nobody", counts)
	}
}

func TestFixedDependency(t *testing.T) {
	_, js := natstest.New(t)
	dependency := echo(t)
	c := start(t, Config{Outbound: []string{"0=" + address(dependency)}}, Deps{JS: js})
	post(t, client(t, ""), c.url(0)+"/pay", "text/plain", []byte("7"))
	c.stop()
	out := play(t, tapesOf(t, js))
	if len(out.rows) != 1 {
		t.Fatalf("recorded %d, want 1", len(out.rows))
	}
	connection := out.exchanges[0].Connection
	if out.rows[0].Host != address(dependency) || connection.Listen != c.Addrs()[0].String() || connection.Server != address(dependency) {
		t.Errorf("host %q, connection %v, want the dependency and where we listened", out.rows[0].Host, connection)
	}
}

func TestCurlSeesNoDifference(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("no curl here")
	}
	_, js := natstest.New(t)
	app := echo(t)
	c := start(t, Config{Inbound: []string{"0=" + address(app)}, Outbound: []string{"0"}}, Deps{JS: js})
	run := func(args ...string) string {
		out, err := exec.CommandContext(t.Context(), curl, append([]string{"-sS", "--noproxy", "", "-H", "Content-Type: text/x"}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("curl %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	for _, args := range [][]string{
		{"-d", "hello"}, {"-T", "/etc/hostname", "-H", "Expect: 100-continue"}, {"-I"}, {"-X", "DELETE"}, {"-H", "Transfer-Encoding: chunked", "-d", "chunks"}, {"--http1.0"},
	} {
		format := []string{"-w", "%{http_code} %{size_download}"}
		want := run(append(append(args, format...), "-H", "Host: h", app.URL)...)
		if got := run(append(append(args, format...), "-H", "Host: h", c.url(0))...); withoutDate(got) != withoutDate(want) {
			t.Errorf("curl %v: got %q, want %q", args, got, want)
		}
		if got := run(append(append(args, format...), "-H", "Host: h", "-x", c.url(1), app.URL)...); withoutDate(got) != withoutDate(want) {
			t.Errorf("curl -x %v: got %q, want %q", args, got, want)
		}
	}
	c.stop()
	out := play(t, tapesOf(t, js))
	if len(out.rows) != 12 {
		t.Errorf("recorded %d exchanges, want 12", len(out.rows))
	}
}

func withoutDate(s string) string {
	var kept []string
	for line := range strings.Lines(s) {
		if !strings.HasPrefix(line, "Date:") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

func TestOpenExchangesAreAnnounced(t *testing.T) {
	_, js := natstest.New(t)
	release := make(chan struct{})
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-release }))
	defer app.Close()
	c := start(t, Config{Inbound: []string{"0=" + address(app)}}, Deps{JS: js})
	done := make(chan struct{})
	go func() {
		defer close(done)
		request, _ := http.NewRequest("GET", c.url(0)+"/slow/17?token=abc", nil)
		if answer, err := client(t, "").Do(request); err == nil {
			answer.Body.Close()
		}
	}()
	eventually(t, "open entry", func() bool {
		for _, tape := range tapesOf(t, js) {
			for _, e := range tape.Index.Entries {
				if e.Kind == events.Kind_OPEN {
					return true
				}
			}
		}
		return false
	})
	close(release)
	<-done
	c.stop()
	out := play(t, tapesOf(t, js))
	if len(out.open) != 1 || len(out.rows) != 1 || out.open[0].ID != out.rows[0].ID || !out.open[0].Time.Equal(out.rows[0].Time) || out.open[0].Template != "/slow/{id}" {
		t.Errorf("open %+v, rows %+v, want one of each with the same id and time", out.open, out.rows)
	}
}

func TestSpoolsWhileNATSIsAway(t *testing.T) {
	dir, data := t.TempDir(), t.TempDir()
	server, conn, js := natstest.Start(t, dir)
	if _, err := events.Setup(t.Context(), js, events.SetupOptions{Database: true}); err != nil {
		t.Fatal(err)
	}
	app := echo(t)
	c := start(t, Config{Inbound: []string{"0=" + address(app)}}, Deps{JS: js, Data: data})
	web := client(t, "")
	sent := 0
	send := func(n int) {
		for range n {
			post(t, web, c.url(0), "text/plain", []byte("n "+strconv.Itoa(sent)))
			sent++
		}
	}
	send(5)
	eventually(t, "first tapes", func() bool { return len(tapesOf(t, js)) > 0 })
	server.Close()
	eventually(t, "disconnected", func() bool { return !conn.IsConnected() })
	send(5)
	eventually(t, "spooled", func() bool { return c.publisher.spool.Tapes() > 0 })
	web.CloseIdleConnections()
	c.stop() // with NATS away: all is in the spool
	conn.Close()

	// Another process, with another server on the same store, drains it.
	_, _, js = natstest.Start(t, dir)
	c = start(t, Config{Inbound: []string{"0=" + address(app)}}, Deps{JS: js, Data: data})
	send(5)
	eventually(t, "drained", func() bool { return c.publisher.spool.Tapes() == 0 })
	web.CloseIdleConnections()
	c.stop()
	seen := map[string]int{}
	lasts := 0
	for _, tape := range tapesOf(t, js) {
		for r, err := range tape.Records() {
			if err != nil {
				t.Fatal(err)
			}
			seen[string(r.GetExchange().GetResponse().GetBody().GetData())]++
		}
		if tape.Header.Last {
			lasts++
		}
	}
	for i := range sent {
		if n := seen["n "+strconv.Itoa(i)]; n != 1 {
			t.Errorf("exchange %d is there %d times, want once", i, n)
		}
	}
	if lasts != 2 {
		t.Errorf("%d last headers, want 2", lasts)
	}
}

func TestSpoolsWhileAConsumerIsMissing(t *testing.T) {
	_, _, js := natstest.Start(t, t.TempDir())
	if _, err := events.Setup(t.Context(), js, events.SetupOptions{Database: true}); err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteConsumer(t.Context(), events.StreamCaptured, events.DurableIndexer); err != nil {
		t.Fatal(err)
	}
	c := start(t, Config{Inbound: []string{"0=" + address(echo(t))}}, Deps{JS: js})
	post(t, client(t, ""), c.url(0), "text/plain", []byte("x"))
	eventually(t, "spooled", func() bool { return c.publisher.spool.Tapes() > 0 })
	if n := len(tapesOf(t, js)); n != 0 {
		t.Errorf("%d tapes published, want none while nobody indexes", n)
	}
	if _, err := events.Setup(t.Context(), js, events.SetupOptions{Database: true}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "published", func() bool { return c.publisher.spool.Tapes() == 0 && len(tapesOf(t, js)) > 0 })
}

func TestWithoutNATSItRelaysAndSpools(t *testing.T) {
	conn, js, err := service.ConnectLater("nats://127.0.0.1:1", "test", quietLog())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := start(t, Config{Inbound: []string{"0=" + address(echo(t))}}, Deps{JS: js})
	post(t, client(t, ""), c.url(0), "text/plain", []byte("x"))
	c.stop()
	tapes := 0
	for _, id := range c.publisher.spool.Oldest(100) {
		tape, err := c.publisher.spool.Get(id)
		if err != nil {
			t.Fatal(err)
		}
		tapes += len(tape.Index.Entries)
	}
	if tapes != 1 {
		t.Errorf("%d exchanges in the spool, want 1", tapes)
	}
}

// stuck is a protocol whose dissector waits, or panics.
type stuck struct {
	wire.Protocol
	wait  chan struct{}
	panic bool
}

func (p *stuck) NewDissector(c *events.Connection, d events.Direction, s wire.Sink) wire.Dissector {
	return &stuckDissector{p.Protocol.NewDissector(c, d, s), p}
}

type stuckDissector struct {
	wire.Dissector
	p *stuck
}

func (d *stuckDissector) Data(side events.Side, t time.Time, b []byte) {
	if d.p.panic && bytes.Contains(b, []byte("/panic")) {
		d.Dissector.Data(side, t, b)
		panic("planted")
	}
	if d.p.wait != nil {
		<-d.p.wait
	}
	d.Dissector.Data(side, t, b)
}

func (d *stuckDissector) Missed(t time.Time, exchanges int) {
	d.Dissector.(wire.TurnTaker).Missed(t, exchanges)
}

func TestPressureDropsAndCounts(t *testing.T) {
	_, js := natstest.New(t)
	p := &stuck{Protocol: httpProtocol(), wait: make(chan struct{})}
	c := start(t, Config{Inbound: []string{"0=" + address(echo(t))}, Buffer: 64 << 10}, Deps{JS: js, Protocols: []wire.Protocol{p}})
	web := client(t, "")
	sent := uint64(0)
	for range 100 { // the relay goes on at full speed
		sent++
		if got := post(t, web, c.url(0), "text/plain", random(8<<10)); !bytes.Equal(got, random(8<<10)) {
			t.Fatal("client sees a difference")
		}
	}
	close(p.wait)
	eventually(t, "dissected", func() bool { return c.budget.used.Load() == 0 })
	eventually(t, "found again", func() bool { // what comes before the gap is told belongs to it
		sent++
		post(t, web, c.url(0)+"/after", "text/plain", []byte("found again"))
		return c.Counts().Taped > 0
	})
	web.CloseIdleConnections()
	c.stop()
	out := play(t, tapesOf(t, js))
	counts := c.Counts()
	if counts.Dropped[wire.DropPressure] == 0 || counts.Begun != counts.Taped+counts.Dropped[wire.DropPressure] || counts.Begun != sent {
		t.Errorf("%+v, want some dropped and all %d accounted for", counts, sent)
	}
	if last := out.exchanges[len(out.exchanges)-1]; last.Request.Target != "/after" || string(last.Response.Body.Data) != "found again" {
		t.Errorf("last recorded is %s, want /after", last.Request.Target)
	}
}

func TestPressureBlocks(t *testing.T) {
	_, js := natstest.New(t)
	p := &stuck{Protocol: httpProtocol(), wait: make(chan struct{})}
	c := start(t, Config{Inbound: []string{"0=" + address(echo(t))}, Buffer: 64 << 10, OnPressure: "block"}, Deps{JS: js, Protocols: []wire.Protocol{p}})
	done := make(chan struct{})
	go func() {
		defer close(done)
		web := client(t, "")
		for i := range 100 {
			post(t, web, c.url(0)+"/"+strconv.Itoa(i), "text/plain", random(8<<10))
		}
	}()
	eventually(t, "buffer full", func() bool { return c.budget.waiting.Load() > 0 })
	select {
	case <-done:
		t.Error("the relay did not wait")
	default:
	}
	close(p.wait)
	<-done
	c.stop()
	if out := play(t, tapesOf(t, js)); len(out.rows) != 100 {
		t.Errorf("recorded %d, want 100: %v", len(out.rows), out.last.Counters)
	}
}

func TestDissectorPanicCostsOneRecording(t *testing.T) {
	_, js := natstest.New(t)
	c := start(t, Config{Inbound: []string{"0=" + address(echo(t))}}, Deps{JS: js, Protocols: []wire.Protocol{&stuck{Protocol: httpProtocol(), panic: true}}, Log: quietLog(), Data: t.TempDir()})
	web := client(t, "")
	for _, path := range []string{"/panic", "/unseen"} { // one connection
		post(t, web, c.url(0)+path, "text/plain", []byte("x"))
	}
	web.CloseIdleConnections()
	post(t, client(t, ""), c.url(0)+"/fine", "text/plain", []byte("x"))
	c.stop()
	var got []string
	for _, r := range play(t, tapesOf(t, js)).rows {
		got = append(got, r.Protocol+" "+r.Path)
	}
	slices.Sort(got)
	if !slices.Equal(got, []string{"http /fine", "tcp "}) || c.Counts().Dropped["panic"] != 1 {
		t.Errorf("recorded %q, counts %+v", got, c.Counts())
	}
}

func TestDrainFinishesWhatIsUnderWay(t *testing.T) {
	_, js := natstest.New(t)
	entered, release := make(chan struct{}), make(chan struct{})
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-release
		io.WriteString(w, "done")
	}))
	defer app.Close()
	c := start(t, Config{Inbound: []string{"0=" + address(app)}, DrainTimeout: 20 * time.Second}, Deps{JS: js})
	type result struct {
		body string
		err  error
	}
	got := make(chan result, 1)
	web := client(t, "")
	go func() {
		answer, err := web.Get(c.url(0))
		if err != nil {
			got <- result{err: err}
			return
		}
		defer answer.Body.Close()
		b, err := io.ReadAll(answer.Body)
		got <- result{string(b), err}
	}()
	<-entered
	c.cancel()
	eventually(t, "no more connections taken", func() bool {
		conn, err := net.Dial("tcp", c.Addrs()[0].String())
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	close(release)
	if r := <-got; r.err != nil || r.body != "done" {
		t.Errorf("the request under way got %q, %v", r.body, r.err)
	}
	c.stop() // though the client keeps its connection
	if out := play(t, tapesOf(t, js)); len(out.rows) != 1 || out.rows[0].Class != events.StatusClass_OK || !out.last.Last {
		t.Errorf("recorded %+v", out.rows)
	}
}

func TestDrainTimeoutCutsAndRecords(t *testing.T) {
	_, js := natstest.New(t)
	entered := make(chan struct{})
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
	}))
	defer app.Close()
	c := start(t, Config{Inbound: []string{"0=" + address(app)}, DrainTimeout: 50 * time.Millisecond}, Deps{JS: js})
	failed := make(chan error, 1)
	web := client(t, "")
	go func() {
		_, err := web.Get(c.url(0))
		failed <- err
	}()
	<-entered
	c.stop()
	if err := <-failed; err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("client got %v, want a cut connection", err)
	}
	out := play(t, tapesOf(t, js))
	if len(out.rows) != 1 || out.rows[0].Class != events.StatusClass_FAILED || out.last.Counters.Open != 0 {
		t.Errorf("recorded %+v, %v", out.rows, out.last.Counters)
	}
}
