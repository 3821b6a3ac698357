package capture

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"tapedeck/archiver/tapes"
	"tapedeck/capture/redact"
	"tapedeck/events"
	"tapedeck/internal/natstest"
	"tapedeck/wire"
	"tapedeck/wire/http1"
)

// archived puts every tape into a directory.
func archived(t testing.TB, all []*events.Tape) *tapes.Archive {
	t.Helper()
	a, err := tapes.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, tape := range all {
		if _, err := a.PutTape(t.Context(), tape); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

func serviceOf(r events.Row) events.Service {
	return events.Service{Cluster: r.Cluster, Namespace: r.Namespace, Service: r.Service}
}

// messagesOf reads the messages of an exchange through the archive.
func messagesOf(t testing.TB, a *tapes.Archive, r events.Row, x *events.Exchange) []*events.Message {
	t.Helper()
	var all []*events.Message
	number := uint32(0)
	for g, err := range a.Segments(t.Context(), serviceOf(r), x) {
		if err != nil {
			t.Fatal(err)
		}
		if g.Number != number {
			t.Errorf("segment %d, want %d", g.Number, number)
		}
		number++
		all = append(all, g.Messages...)
	}
	return all
}

func messageLines(all []*events.Message) []string {
	var out []string
	for _, m := range all {
		arrow := ">"
		if m.Side == events.Side_RESPONSE {
			arrow = "<"
		}
		out = append(out, fmt.Sprintf("%s %s %s", arrow, m.Type, m.Data))
	}
	return out
}

func timesRise(t testing.TB, all []*events.Message) {
	t.Helper()
	now := time.Now().UnixNano()
	for _, m := range all {
		if m.Time > now || m.Time < now-int64(time.Minute) {
			t.Errorf("message %q at %d, now is %d", m.Data, m.Time, now)
		}
	}
}

// echoSocket answers each message with itself, and "boom" with an error.
func echoSocket(t testing.TB, mode websocket.CompressionMode) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: mode, CompressionThreshold: 1, InsecureSkipVerify: true})
		if err != nil {
			return
		}
		defer c.CloseNow()
		c.SetReadLimit(8 << 20)
		for {
			kind, data, err := c.Read(r.Context())
			if err != nil {
				return
			}
			if string(data) == "boom" {
				c.Close(websocket.StatusInternalError, "boom")
				return
			}
			if err := c.Write(r.Context(), kind, data); err != nil {
				return
			}
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func TestRecordsWebSockets(t *testing.T) {
	for name, mode := range map[string]websocket.CompressionMode{
		"plain": websocket.CompressionDisabled, "no takeover": websocket.CompressionNoContextTakeover, "takeover": websocket.CompressionContextTakeover,
	} {
		_, js := natstest.New(t)
		c := start(t, Config{Inbound: []string{"0=" + address(echoSocket(t, mode))}}, Deps{JS: js})
		socket, answer, err := websocket.Dial(t.Context(), c.url(0)+"/chat/17", &websocket.DialOptions{CompressionMode: mode, CompressionThreshold: 1})
		if err != nil {
			t.Fatal(err)
		}
		if extensions := answer.Header.Get("Sec-WebSocket-Extensions"); (mode == websocket.CompressionDisabled) == strings.Contains(extensions, "permessage-deflate") {
			t.Errorf("%s: extensions %q", name, extensions)
		}
		socket.SetReadLimit(8 << 20)
		var want []string
		large := strings.Repeat("all work and no play ", 20_000)
		for _, text := range []string{"hello", "hello", `{"user":"ann","token":"s3cret-of-the-test"}`, large, "hello"} {
			if err := socket.Write(t.Context(), websocket.MessageText, []byte(text)); err != nil {
				t.Fatal(err)
			}
			if _, got, err := socket.Read(t.Context()); err != nil || string(got) != text {
				t.Fatalf("%s: got %d bytes, %v", name, len(got), err)
			}
			want = append(want, "> text "+text, "< text "+text)
		}
		noise := random(100 << 10)
		socket.Write(t.Context(), websocket.MessageBinary, noise)
		if _, got, err := socket.Read(t.Context()); err != nil || !bytes.Equal(got, noise) {
			t.Fatalf("%s: got %d bytes, %v", name, len(got), err)
		}
		want = append(want, "> binary "+string(noise), "< binary "+string(noise))
		socket.Close(websocket.StatusNormalClosure, "bye")
		want = append(want, "> close \x03\xe8bye", "< close \x03\xe8bye")
		c.stop()

		all := tapesOf(t, js)
		x, row := onlyStream(t, all)
		got := messagesOf(t, archived(t, all), row, x)
		timesRise(t, got)
		lines := messageLines(got)
		sent := 0
		for i := range want {
			if head, data, _ := strings.Cut(strings.TrimPrefix(want[i], "> "), " "); strings.HasPrefix(want[i], "> "+head) {
				sent += len(data)
			}
			if strings.Contains(want[i], "s3cret") {
				if !strings.Contains(lines[i], `"token":"td1_`) || !strings.Contains(lines[i], `"user":"ann"`) {
					t.Errorf("%s: recorded %s, want a token in place of the credential", name, lines[i])
				}
				want[i] = lines[i]
			}
		}
		if !slices.Equal(lines, want) {
			t.Errorf("%s: recorded %d messages, want %d:\n%.300s", name, len(lines), len(want), lines)
		}
		if row.Protocol != "websocket" || row.Status != "101" || row.Class != events.StatusClass_OK || row.Template != "/chat/{id}" || row.Flags != uint32(events.Flag_REDACTED) {
			t.Errorf("%s: row %+v", name, row)
		}
		size := int64(0)
		for _, m := range got {
			if m.Side == events.Side_REQUEST {
				size += m.Size
			}
		}
		if row.RequestBytes != int64(sent) || row.ResponseBytes != int64(sent) || x.Request.Body.Kept != size || x.Response.Body.Kept != x.Response.Body.Size {
			t.Errorf("%s: row says %d bytes of %d, messages have %d, kept %d and %d", name, row.RequestBytes, sent, size, x.Request.Body.Kept, x.Response.Body.Kept)
		}
		if len(x.Redactions) != 2 || x.Redactions[0].Place != "request.message.$.token" {
			t.Errorf("%s: redactions %v", name, x.Redactions)
		}
	}
}

// onlyStream is the one exchange on the tapes that is a stream, read without
// its bodies: they are in messages.
func onlyStream(t testing.TB, all []*events.Tape) (*events.Exchange, events.Row) {
	t.Helper()
	var found []*events.Exchange
	var row events.Row
	var last *events.Header
	taped := uint64(0)
	for _, tape := range all {
		if last == nil || tape.Header.Number > last.Number {
			last = tape.Header
		}
		for _, e := range tape.Index.Entries {
			if e.Kind != events.Kind_EXCHANGE {
				continue
			}
			taped++
			r, err := tape.Record(e.Block, e.Position)
			if err != nil {
				t.Fatal(err)
			}
			if x := r.GetExchange(); len(x.Segments) > 0 {
				found, row = append(found, x), tape.Row(e)
			}
		}
	}
	if c := last.GetCounters(); c.GetTaped() != taped || c.GetOpen() != 0 || c.GetBegun() != taped {
		t.Errorf("ledger %v, want %d taped", c, taped)
	}
	if len(found) != 1 {
		t.Fatalf("%d streams on tape, want 1", len(found))
	}
	return found[0], row
}

func TestCloseCodes(t *testing.T) {
	_, js := natstest.New(t)
	c := start(t, Config{Inbound: []string{"0=" + address(echoSocket(t, websocket.CompressionContextTakeover))}}, Deps{JS: js})
	socket, _, err := websocket.Dial(t.Context(), c.url(0), nil)
	if err != nil {
		t.Fatal(err)
	}
	socket.Write(t.Context(), websocket.MessageText, []byte("boom"))
	if _, _, err := socket.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusInternalError {
		t.Fatal(err)
	}
	c.stop()
	x, row := onlyStream(t, tapesOf(t, js))
	if row.Status != "1011" || row.Class != events.StatusClass_SERVER || x.Failure != "closed with 1011 by the server" {
		t.Errorf("%s %s, failure %q", row.Status, row.Class, x.Failure)
	}
}

func TestMessagesAreCutToMaxBody(t *testing.T) {
	_, js := natstest.New(t)
	c := start(t, Config{Inbound: []string{"0=" + address(echoSocket(t, websocket.CompressionDisabled))}, MaxBody: 100}, Deps{JS: js})
	socket, _, err := websocket.Dial(t.Context(), c.url(0), nil)
	if err != nil {
		t.Fatal(err)
	}
	socket.SetReadLimit(8 << 20)
	for _, n := range []int{50, 200, 2 << 20} {
		socket.Write(t.Context(), websocket.MessageBinary, random(n))
		if _, _, err := socket.Read(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	socket.Close(websocket.StatusNormalClosure, "")
	c.stop()
	all := tapesOf(t, js)
	x, row := onlyStream(t, all)
	got := messagesOf(t, archived(t, all), row, x)
	if len(got) != 8 || len(got[0].Data) != 50 || len(got[2].Data) != 100 || got[2].Size != 200 || len(got[5].Data) != 100 || got[5].Size != 2<<20 {
		t.Errorf("%d messages: %d bytes, %d of %d, %d of %d", len(got), len(got[0].Data), len(got[2].Data), got[2].Size, len(got[5].Data), got[5].Size)
	}
	if b := x.Request.Body; row.Flags&uint32(events.Flag_TRUNCATED) == 0 || b.Size != 50+200+2<<20+2 || b.Kept != 50+100+100+2 {
		t.Errorf("flags %d, size %d, kept %d", row.Flags, b.Size, b.Kept)
	}
}

// ticker sends events until its client goes.
func ticker(every time.Duration, until int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := 1; until == 0 || i <= until; i++ {
			fmt.Fprintf(w, "id: %d\nevent: tick\ndata: {\"n\":%d,\ndata: \"token\":\"s3cret-%d\"}\n\n", i, i, i)
			http.NewResponseController(w).Flush()
			select {
			case <-r.Context().Done():
				return
			case <-time.After(every):
			}
		}
	}
}

func TestRecordsEventsOfCurl(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("no curl")
	}
	app := httptest.NewServer(ticker(10*time.Millisecond, 5))
	t.Cleanup(app.Close)
	for _, version := range []string{"--http1.1", "--http1.0"} { // chunked, and until close
		_, js := natstest.New(t)
		c := start(t, Config{Inbound: []string{"0=" + address(app)}}, Deps{JS: js})
		seen, err := exec.CommandContext(t.Context(), "curl", "-sN", version, c.url(0)+"/events").Output()
		if err != nil || bytes.Count(seen, []byte("event: tick\n")) != 5 {
			t.Fatalf("curl %s: %v\n%s", version, err, seen)
		}
		c.stop()
		all := tapesOf(t, js)
		x, row := onlyStream(t, all)
		archive := archived(t, all)
		got := messagesOf(t, archive, row, x)
		timesRise(t, got)
		if len(got) != 5 || got[4].Type != "tick" || !strings.HasPrefix(string(got[4].Data), "id: 5\nevent: tick\ndata: {\"n\":5,\ndata: \"token\":\"td1_") {
			t.Fatalf("%s: %d messages, the last %v", version, len(got), got[len(got)-1])
		}
		if row.Protocol != "http" || row.Status != "200" || row.Class != events.StatusClass_OK || len(x.Response.Body.Data) != 0 || row.Flags != uint32(events.Flag_REDACTED) {
			t.Errorf("%s: row %+v, body %q", version, row, x.Response.Body.Data)
		}
		// Who asks for the body gets it of its messages.
		if err := archive.Complete(t.Context(), serviceOf(row), x); err != nil {
			t.Fatal(err)
		}
		if body := x.Response.Body; int64(len(body.Data)) != body.Size || body.Kept != body.Size || bytes.Contains(body.Data, []byte("s3cret")) || bytes.Count(body.Data, []byte("\n")) != bytes.Count(seen, []byte("\n")) {
			t.Errorf("%s: body %q, says %d of %d", version, body.Data, body.Kept, body.Size)
		}
	}
}

// TestClientEndsAnEventStream: the reader of a stream is the one who ends it,
// whichever way it has come.
func TestClientEndsAnEventStream(t *testing.T) {
	app := httptest.NewServer(ticker(5*time.Millisecond, 0))
	t.Cleanup(app.Close)
	for _, proxy := range []string{"", "http", "socks5"} {
		_, js := natstest.New(t)
		c := start(t, Config{Inbound: []string{"0=" + address(app)}, Outbound: []string{"0"}}, Deps{JS: js})
		url, way := c.url(0), ""
		if proxy != "" {
			url, way = app.URL, proxy+"://"+c.Addrs()[1].String()
		}
		answer, err := client(t, way).Get(url + "/events")
		if err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(answer.Body).ReadString('\n'); line != "id: 1\n" {
			t.Errorf("proxy %q: client reads %q, %v", proxy, line, err)
		}
		answer.Body.Close()
		c.stop()
		if x, row := onlyStream(t, tapesOf(t, js)); row.Class != events.StatusClass_OK || row.Status != "200" || x.Failure != "" {
			t.Errorf("proxy %q: recorded %s %s, failure %q", proxy, row.Status, row.Class.Name(), x.Failure)
		}
	}
}

// page opens a WebSocket and an EventSource and writes into its title what came.
const page = `<!doctype html><title>-</title><script>
const got = [];
const step = s => { got.push(s); if (got.length >= 5) { socket.close(4001, "done"); source.close(); } };
const socket = new WebSocket("ws://" + location.host + "/socket");
socket.onopen = () => { for (const s of ["one", "two", "one"]) socket.send(s.repeat(50)); };
socket.onmessage = e => step(e.data);
socket.onclose = e => { fetch("/done?" + got.length + "-" + e.code).then(() => document.title = "done"); };
const source = new EventSource("/events");
let ticks = 0;
source.addEventListener("tick", e => { if (++ticks <= 2) step(e.data); });
</script>`

func TestRecordsABrowser(t *testing.T) {
	const browser = "/usr/bin/chromium"
	if _, err := os.Stat(browser); err != nil {
		if os.Getenv("REQUIRE_SERVICES") == "1" {
			t.Fatal("no Chromium: `make tools` installs it on Debian")
		}
		t.Skip("no Chromium")
	}
	for _, scheme := range []string{"", "http", "socks5"} {
		t.Run("proxy "+scheme, func(t *testing.T) { recordsABrowser(t, browser, scheme) })
	}
}

// recordsABrowser shows the page through us: in front of the server, or as the
// browser's proxy. Browsers send ws:// through a tunnel, which is looked into
// where TLS is opened.
func recordsABrowser(t *testing.T, browser, scheme string) {
	sockets := echoSocket(t, websocket.CompressionContextTakeover)
	done := make(chan string, 1)
	app := http.NewServeMux()
	app.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, page)
	})
	app.HandleFunc("/socket", sockets.Config.Handler.ServeHTTP)
	app.HandleFunc("/events", ticker(20*time.Millisecond, 0))
	app.HandleFunc("/done", func(w http.ResponseWriter, r *http.Request) {
		select {
		case done <- r.URL.RawQuery:
		default:
		}
	})
	server := httptest.NewServer(app)
	t.Cleanup(server.Close)
	_, js := natstest.New(t)
	c, url, way := start(t, Config{Inbound: []string{"0=" + address(server)}, Outbound: []string{"0"}, OutboundTLS: "open"}, Deps{JS: js}), server.URL, []string{"--no-proxy-server"}
	if scheme == "" {
		url = c.url(0)
	} else {
		way = []string{"--proxy-server=" + scheme + "://" + c.Addrs()[1].String(), "--proxy-bypass-list=<-loopback>"}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	chromium := exec.CommandContext(ctx, browser, append(way, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--user-data-dir="+t.TempDir(),
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-port=0", url+"/")...)
	errors, err := chromium.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := chromium.Start(); err != nil {
		t.Fatal(err)
	}
	said := make(chan string, 1)
	go func() { said <- lastLines(errors) }()
	select {
	case got := <-done:
		if got != "5-4001" {
			t.Errorf("the page says %s, want 5 things seen and code 4001", got)
		}
	case <-ctx.Done():
		t.Error("the page does not come to its end")
	}
	chromium.Process.Kill()
	if t.Failed() {
		t.Log(<-said)
	}
	chromium.Wait()
	c.stop()

	all := tapesOf(t, js)
	archive := archived(t, all)
	byProtocol := map[string][]string{}
	for _, tape := range all {
		for _, e := range tape.Index.Entries {
			row := tape.Row(e)
			r, err := tape.Record(e.Block, e.Position)
			if err != nil || row.Open {
				continue
			}
			if x := r.GetExchange(); len(x.Segments) > 0 {
				got := messagesOf(t, archive, row, x)
				timesRise(t, got)
				byProtocol[row.Protocol] = append(messageLines(got), row.Status, row.Class.Name())
				extensions := events.HeaderValue(x.Response.Headers, "Sec-WebSocket-Extensions")
				if row.Protocol == "websocket" && !strings.Contains(extensions, "permessage-deflate") {
					t.Errorf("extensions %q, want permessage-deflate", extensions)
				}
			}
		}
	}
	one, two := strings.Repeat("one", 50), strings.Repeat("two", 50)
	socket := byProtocol["websocket"]
	for _, want := range []string{"> text " + one, "> text " + two, "< text " + one, "< text " + two, "> close \x0f\xa1done", "4001", "ok"} {
		if !slices.Contains(socket, want) {
			t.Errorf("no %q in the socket's messages: %q", want, socket)
		}
	}
	source := byProtocol["http"]
	if len(source) < 4 || !strings.HasPrefix(source[0], "< tick id: 1\n") || !slices.Contains(source, "200") || !slices.Contains(source, "ok") {
		t.Errorf("events of the page: %q", source)
	}
}

func lastLines(r io.Reader) string {
	var lines []string
	for s := bufio.NewScanner(r); s.Scan(); {
		lines = append(lines[max(0, len(lines)-20):], s.Text())
	}
	return strings.Join(lines, "\n")
}

// TestASocketOfHours runs in the time of a bubble: a message a second for two
// hours, looked at on the way as a reader of the archive would.
func TestASocketOfHours(t *testing.T) {
	key := redact.ThrowawayKey()
	a, err := tapes.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	// What packs tapes makes its channel at the first use: not in a bubble.
	if _, err := events.NewBuilder(time.Now()).Close(&events.Header{}); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		r, _ := testRecorder(time.Now())
		r.redactor = redact.Fixed(redact.New(key))
		var opens []events.Row
		var end events.Row
		r.publish = func(c *closedTape) {
			tape, err := events.ParseTape(c.bytes)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := a.PutTape(t.Context(), tape); err != nil {
				t.Fatal(err)
			}
			for _, e := range tape.Index.Entries {
				if row := tape.Row(e); row.Open {
					opens = append(opens, row)
				} else {
					end = row
				}
			}
		}
		info := &events.Connection{Id: make([]byte, 16)}
		s := &sink{recorder: r, info: info, protocol: &http1.Protocol{}}
		tap := &tap{info: info, sink: s, dissector: (&http1.Protocol{}).NewDissector(info, events.Direction_INBOUND, s)}
		tap.dissect(events.Side_REQUEST, time.Now(), []byte("GET /feed?token=abc HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"))
		tap.dissect(events.Side_RESPONSE, time.Now(), []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"))
		const hours = 2
		sent := 0
		say := func() {
			sent++
			text := fmt.Sprintf(`{"n":%d,"token":"t%d"}`, sent, sent)
			tap.dissect(events.Side_RESPONSE, time.Now(), append([]byte{0x81, byte(len(text))}, text...))
		}
		half := func() {
			time.Sleep(500 * time.Millisecond)
			tap.announce(time.Now())
			r.tick(time.Now())
		}
		open := func() []*events.Segment {
			row := opens[len(opens)-1]
			place, err := a.Find(t.Context(), serviceOf(row), row.Tape)
			if err != nil {
				t.Fatal(err)
			}
			segments, err := a.OpenSegments(t.Context(), serviceOf(row), place, row)
			if err != nil {
				t.Fatal(err)
			}
			return segments
		}
		count := func(segments []*events.Segment) int {
			n := 0
			for _, g := range segments {
				for _, m := range g.Messages {
					if n++; !strings.HasPrefix(string(m.Data), fmt.Sprintf(`{"n":%d,"token":"td1_`, n)) {
						t.Fatalf("message %d is %s", n, m.Data)
					}
				}
			}
			return n
		}
		for range 7 * 2 { // seven seconds: announced, closed into a tape
			say()
			half()
		}
		if len(opens) == 0 || count(open()) == 0 || opens[0].Protocol != "websocket" || opens[0].Status != "101" || opens[0].Class != 0 || opens[0].Path != "/feed" {
			t.Fatalf("after seven seconds: %d open entries, %+v", len(opens), opens)
		}
		for range hours * 3600 {
			say()
			half()
			half()
		}
		before := len(opens)
		if n := count(open()); n < sent-60 || before < hours*3600/100 || before > hours*3600/10+2 {
			t.Errorf("after %d hours: %d open entries, the last one leads to %d of %d messages", hours, before, n, sent)
		}
		for range 2 * 90 { // silence: the last messages are led to as well
			half()
		}
		if n := count(open()); n != sent {
			t.Errorf("in silence an open entry leads to %d of %d messages", n, sent)
		}
		tap.closeSide(events.Side_REQUEST, time.Now(), nil)
		tap.closeSide(events.Side_RESPONSE, time.Now(), nil)
		r.end()
		place, err := a.Find(t.Context(), serviceOf(end), end.Tape)
		if err != nil {
			t.Fatal(err)
		}
		x, err := a.Exchange(t.Context(), place, end)
		if err != nil {
			t.Fatal(err)
		}
		var all []*events.Segment
		for g, err := range a.Segments(t.Context(), serviceOf(end), x) {
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, g)
		}
		if n := count(all); n != sent || x.Response.Body.Kept != x.Response.Body.Size || end.Status != "1006" || !wireFailed(x) {
			t.Errorf("%d of %d messages on tape, %v, row %+v", n, sent, x.Response.Body, end)
		}
		if c := r.Counts(); c.Begun != 1 || c.Taped != 1 || c.Open != 0 {
			t.Errorf("counts %+v", c)
		}
		seen := map[events.ID]bool{}
		for _, row := range opens {
			if seen[row.Tape] {
				t.Errorf("tape %s has two open entries of one exchange", row.Tape)
			}
			seen[row.Tape] = true
		}
	})
}

// TestSegmentsThatGrow: tokens are longer than what they stand for.
func TestSegmentsThatGrow(t *testing.T) {
	key := redact.ThrowawayKey()
	r, _ := testRecorder(time.Now())
	r.redactor = redact.Fixed(redact.New(key))
	largest, kept, exchange := 0, int64(0), &events.Exchange{}
	r.publish = func(c *closedTape) {
		largest = max(largest, len(c.bytes))
		tape, err := events.ParseTape(c.bytes)
		if err != nil {
			t.Fatal(err)
		}
		for record, err := range tape.Records() {
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range record.GetSegment().GetMessages() {
				if kept += int64(len(m.Data)); m.Size <= int64(len(m.Data)) && len(m.Data) > 1<<20 {
					t.Errorf("%d of %d bytes of a message", len(m.Data), m.Size)
				}
			}
			if x := record.GetExchange(); x != nil {
				exchange = x
			}
		}
	}
	info := &events.Connection{Id: make([]byte, 16)}
	s := &sink{recorder: r, info: info, protocol: &http1.Protocol{}}
	tap := &tap{info: info, sink: s, dissector: (&http1.Protocol{}).NewDissector(info, events.Direction_INBOUND, s)}
	tap.dissect(events.Side_REQUEST, time.Now(), []byte("GET /feed HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"))
	tap.dissect(events.Side_RESPONSE, time.Now(), []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"))
	for range 3 {
		for _, n := range []int{500 << 10, 10, 60 << 10, 60 << 10, 60 << 10} {
			data := []byte(`{"token":[` + strings.Repeat(`"ab",`, n/5) + `""]}`)
			head := binary.BigEndian.AppendUint64([]byte{0x81, 127}, uint64(len(data)))
			if len(data) < 126 {
				head = []byte{0x81, byte(len(data))}
			} else if len(data) < 1<<16 {
				head = binary.BigEndian.AppendUint16([]byte{0x81, 126}, uint16(len(data)))
			}
			tap.dissect(events.Side_RESPONSE, time.Now(), append(head, data...))
		}
	}
	tap.closeSide(events.Side_REQUEST, time.Now(), nil)
	tap.closeSide(events.Side_RESPONSE, time.Now(), nil)
	r.end()
	if largest > 1<<20-64<<10 {
		t.Errorf("a tape of %d bytes", largest)
	}
	if b := exchange.GetResponse().GetBody(); b.GetKept() != kept || kept == 0 || b.Size <= kept || wire.HasGap(exchange) {
		t.Errorf("kept %d, says %v, failure %q", kept, b, exchange.Failure)
	}
}

func wireFailed(x *events.Exchange) bool { return x.Failure != "" && !wire.HasGap(x) }
