package capture

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tapedeck/archiver/tapes"
	"tapedeck/capture/redact"
	"tapedeck/events"
	"tapedeck/wire"
)

const rewritten = "hunter2secret"

// recordOpenly records without redaction: a log-in, an upload of parts, and a
// socket, with secrets in all of them.
func recordOpenly(t *testing.T) (all []*events.Tape) {
	if _, err := events.NewBuilder(time.Now()).Close(&events.Header{}); err != nil { // its channel is of no bubble
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		r, _ := testRecorder(time.Now())
		r.maxBody = 0
		r.publish = func(c *closedTape) {
			tape, err := events.ParseTape(c.bytes)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, tape)
		}
		c := connection(r)
		request := func(head, body string) {
			c.dissect(events.Side_REQUEST, time.Now(), fmt.Appendf(nil, "%s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", head, rewritten, len(body), body))
			c.dissect(events.Side_RESPONSE, time.Now(), []byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 27\r\n\r\n"+`{"pin":47114711,"ok":true}`+"\n"))
		}
		request("POST /users/ada@example.com/keys?token="+rewritten+" HTTP/1.1", `{"password":"`+rewritten+`","card":4242424242424242}`)
		request("PUT /import HTTP/1.1", rewrittenUpload)
		socket := connection(r)
		socket.dissect(events.Side_REQUEST, time.Now(), []byte("GET /feed?token="+rewritten+" HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"))
		socket.dissect(events.Side_RESPONSE, time.Now(), []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"))
		for range 20 {
			message := `{"token":"` + rewritten + `","pin":47114711}`
			socket.dissect(events.Side_RESPONSE, time.Now(), append([]byte{0x81, byte(len(message))}, message...))
			socket.announce(time.Now())
			r.tick(time.Now())
			time.Sleep(time.Second)
		}
		socket.closeSide(events.Side_REQUEST, time.Now(), nil)
		socket.closeSide(events.Side_RESPONSE, time.Now(), nil)
		r.end()
	})
	return all
}

var rewrittenUpload = `[` + strings.Repeat(`{"mail":"ada@example.com","n":1},`, 30<<10) + `{}]`

func rewriteAll(t *testing.T, all []*events.Tape, keys *redact.Keys) []*events.Tape {
	t.Helper()
	engines, err := redact.NewOffline(keys, &redact.Rules{}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	a := archived(t, all)
	r := NewRewriter(engines, func(ctx context.Context, w *events.Workload, x *events.Exchange, b *events.Body) ([]byte, error) {
		return a.Body(ctx, events.Service{Service: w.Service}, x, b)
	})
	for _, tape := range all {
		if err := r.Look(tape); err != nil {
			t.Fatal(err)
		}
	}
	var out []*events.Tape
	for _, tape := range all {
		b, err := r.Tape(t.Context(), tape)
		if err != nil {
			t.Fatal(err)
		}
		redacted, err := events.ParseTape(b)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, redacted)
	}
	if r.Exchanges() != 3 {
		t.Errorf("%d exchanges rewritten, want 3", r.Exchanges())
	}
	return out
}

func TestTapesAreRedactedAfterwards(t *testing.T) {
	file, ids := keyFile(t, time.Now().Add(time.Hour))
	keys, err := redact.OpenKeys(file)
	if err != nil {
		t.Fatal(err)
	}
	openly := recordOpenly(t)
	all := rewriteAll(t, openly, keys)
	a := archived(t, all)
	var rows []events.Row
	for i, tape := range all {
		was := openly[i].Header
		if h := tape.Header; h.RedactionKeyId != ids[0] || h.Number != was.Number || h.ClosedAt != was.ClosedAt || h.Counters.String() != was.Counters.String() || tape.TapeID() != openly[i].TapeID() {
			t.Errorf("header %v, was %v", h, was)
		}
		for r, err := range tape.Records() {
			if err != nil {
				t.Fatal(err)
			}
			for _, secret := range []string{rewritten, "ada@", "4242424242424242", "47114711"} {
				if strings.Contains(r.String()+tape.Index.String(), secret) {
					t.Fatalf("tape %d holds %s", h(tape), secret)
				}
			}
		}
		for _, e := range tape.Index.Entries {
			rows = append(rows, tape.Row(e))
		}
	}
	wantExchanges(t, a, rows)
	again := rewriteAll(t, all, keys)
	for i := range again {
		if !bytes.Equal(again[i].Bytes(), all[i].Bytes()) {
			t.Errorf("a second pass changes tape %d:\n%s", i, cmp.Diff(textOf(t, all[i]), textOf(t, again[i])))
		}
	}
	if err := redact.RemoveKey(file, ids[0], time.Now().Add(2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if keys, err = redact.OpenKeys(file); err != nil {
		t.Fatal(err)
	}
	engines, err := redact.NewOffline(keys, &redact.Rules{}, time.Now().Add(2*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewRewriter(engines, nil).Tape(t.Context(), all[0]); err == nil || !strings.Contains(err.Error(), ids[0]) {
		t.Errorf("the key is destroyed: error %v, want one that names it", err)
	}
}

// textOf is what is in a tape.
func textOf(t *testing.T, tape *events.Tape) (all []string) {
	for r, err := range tape.Records() {
		if err != nil {
			t.Fatal(err)
		}
		text := r.String()
		all = append(all, text)
	}
	return append(all, tape.Header.String(), tape.Index.String())
}

func h(t *events.Tape) uint64 { return t.Header.Number }

// wantExchanges: bodies and messages are found where the new tapes say, and
// the index names what stands in them.
func wantExchanges(t *testing.T, a *tapes.Archive, rows []events.Row) {
	t.Helper()
	at := events.Service{Service: "shop"}
	sessions := map[events.SessionID]bool{}
	for _, row := range rows {
		place, err := a.Find(t.Context(), at, row.Tape)
		if err != nil {
			t.Fatal(err)
		}
		if row.Open {
			segments, err := a.OpenSegments(t.Context(), at, place, row)
			if err != nil {
				t.Errorf("open entry %s: %v", row.ID, err)
			}
			for _, g := range segments {
				wantMessages(t, g)
			}
			continue
		}
		x, err := a.Exchange(t.Context(), place, row)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for g, err := range a.Segments(t.Context(), at, x) {
			if err != nil {
				t.Fatal(err)
			}
			wantMessages(t, g)
			n += len(g.Messages)
		}
		if err := a.Complete(t.Context(), at, x); err != nil {
			t.Fatal(err)
		}
		body := string(x.Request.Body.GetData())
		switch row.Method + " " + row.Template {
		case "POST /users/{token}/keys", "POST /users/{email}/keys":
			if !strings.HasPrefix(body, `{"password":"td1_`) || !strings.Contains(x.Request.Target, "@redacted.invalid/keys?token=td1_") || len(x.Request.Body.Hmac) == 0 {
				t.Errorf("log-in %s", x)
			}
		case "PUT /import":
			if got := strings.Count(body, `{"mail":"td1_`); got != 30<<10 || int64(len(body)) != x.Request.Body.Size || row.RequestBytes != int64(len(rewrittenUpload)) {
				t.Errorf("upload: %d e-mails in %d bytes, want %d in %d", got, len(body), 30<<10, x.Request.Body.Size)
			}
		case "GET /feed":
			if n != 20 {
				t.Errorf("%d messages, want 20", n)
			}
		default:
			t.Errorf("row %+v", row)
		}
		if row.Flags&uint32(events.Flag_REDACTED) == 0 {
			t.Errorf("row %+v is not marked", row)
		}
		if s := wire.Session(x.Request.Headers); s != (events.SessionID{}) {
			sessions[s] = row.Session == s
		}
	}
	if len(sessions) != 1 {
		t.Errorf("sessions %v, want one", sessions)
	}
	for _, same := range sessions {
		if !same {
			t.Error("the index names a session by another token")
		}
	}
}

func wantMessages(t *testing.T, g *events.Segment) {
	t.Helper()
	for _, m := range g.Messages {
		if !strings.HasPrefix(string(m.Data), `{"token":"td1_`) || m.Size != int64(len(m.Data)) {
			t.Errorf("message %s", m)
		}
	}
}
