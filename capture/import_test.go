package capture_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"tapedeck/capture"
	"tapedeck/events"
)

// importer collects the tapes of an import.
func importer(t *testing.T, cfg capture.Config) (*capture.Import, *[]*events.Tape) {
	t.Helper()
	var tapes []*events.Tape
	cfg.Service = "shop"
	i, err := capture.NewImport(cfg, capture.Deps{Data: t.TempDir()}, func(w *events.Workload, id events.ID, b []byte) error {
		tape, err := events.ParseTape(b)
		if err != nil {
			return err
		}
		if tape.TapeID() != id || w.Service != "shop" {
			t.Errorf("tape %s of %s, want %s of shop", tape.TapeID(), w.Service, id)
		}
		tapes = append(tapes, tape)
		return tape.Verify()
	})
	if err != nil {
		t.Fatal(err)
	}
	return i, &tapes
}

// past is when what is imported was recorded.
var past = time.Date(2020, 2, 3, 4, 5, 6, 789, time.UTC)

func imported(request, answer []byte) *events.Exchange {
	c, first := events.NewID(past), past.UnixNano()
	x := &events.Exchange{
		Direction: events.Direction_INBOUND, Protocol: "http", Connection: &events.Connection{Id: c[:], Client: "10.0.0.1:1", Server: "10.0.0.2:80"},
		Request: &events.Request{Method: "POST", Scheme: "http", Host: "shop", Target: "/users/7", Version: "HTTP/1.1",
			Headers: []*events.Field{{Name: []byte("Authorization"), Value: []byte("Bearer secret-1")}, {Name: []byte("Content-Type"), Value: []byte("application/json")}},
			Body:    &events.Body{Data: request, Size: int64(len(request))}, FirstByte: first, LastByte: first + 1e6},
	}
	if answer != nil {
		x.Response = &events.Response{Status: "200", Version: "HTTP/1.1", Headers: []*events.Field{{Name: []byte("Content-Type"), Value: []byte("application/json")}},
			Body: &events.Body{Data: answer, Size: int64(len(answer))}, FirstByte: first + 2e6, LastByte: first + 5e6}
	}
	return x
}

func TestImportRedactsAndKeepsTimes(t *testing.T) {
	i, tapes := importer(t, capture.Config{MaxBody: 1 << 20})
	x := imported([]byte(`{"password":"p","token":"secret-1"}`), []byte(`{"access_token":"secret-1"}`))
	unanswered := imported(nil, nil)
	for _, x := range []*events.Exchange{x, unanswered} {
		if err := i.Add(x); err != nil {
			t.Fatal(err)
		}
	}
	i.Drop("gap")
	if err := i.End(); err != nil {
		t.Fatal(err)
	}
	tape := (*tapes)[0]
	if bytes.Contains(tape.Bytes(), []byte("secret-1")) {
		t.Error("a credential is in the tape")
	}
	row := tape.Row(tape.Index.Entries[0])
	if !row.Time.Equal(past) || row.Duration != 5*time.Millisecond || row.TTFB != 2*time.Millisecond || row.Template != "/users/{id}" || row.Peer != "10.0.0.1:1" {
		t.Errorf("row %+v", row)
	}
	if want := uint32(events.Flag_CLOCK | events.Flag_REDACTED); row.Flags != want {
		t.Errorf("flags %d, want %d", row.Flags, want)
	}
	if row.ID.Time().Sub(past).Abs() > time.Millisecond {
		t.Errorf("id of %s, want %s", row.ID.Time(), past)
	}
	if late := tape.Row(tape.Index.Entries[1]); late.Duration != time.Millisecond || late.Class != events.StatusClass_FAILED {
		t.Errorf("without an answer: took %s, class %s", late.Duration, late.Class)
	}
	h := tape.Header
	if c := h.Counters; c.Begun != 3 || c.Taped != 2 || c.Open != 0 || c.Dropped["gap"] != 1 || !h.Last || h.RedactionKeyId == "" {
		t.Errorf("header %v", h)
	}
	r, err := tape.Record(row.Block, row.Position)
	if err != nil {
		t.Fatal(err)
	}
	got := r.GetExchange()
	token := strings.TrimPrefix(string(got.Request.Headers[0].Value), "Bearer ")
	if !strings.HasPrefix(token, "td1_") || !bytes.Contains(got.Response.Body.Data, []byte(token)) || !bytes.Contains(got.Request.Body.Data, []byte(token)) {
		t.Errorf("token %q, bodies %s, %s", token, got.Request.Body.Data, got.Response.Body.Data)
	}
}

func TestImportOfLongAndCutBodies(t *testing.T) {
	long := bytes.Repeat([]byte("a line of\n"), 100_000) // 1 MB; at a cut no value is halved
	for name, test := range map[string]struct {
		maxBody    int64
		claimed    int64 // size in the source
		kept, size int64
		hmac       string
	}{
		"whole":              {0, 0, 1e6, 1e6, ""},
		"cut here":           {500_000, 0, 500_000, 1e6, "ours"},
		"cut in the source":  {0, 5e6, 1e6, 5e6, "theirs"},
		"cut in both":        {300_000, 5e6, 300_000, 5e6, "theirs"},
		"cut below the rest": {1000, 0, 1000, 1e6, "ours"},
	} {
		t.Run(name, func(t *testing.T) {
			i, tapes := importer(t, capture.Config{MaxBody: capture.Bytes(test.maxBody)})
			x := imported(nil, bytes.Clone(long))
			x.Response.Headers = nil
			if test.claimed > 0 {
				x.Response.Body.Size, x.Response.Body.Hmac = test.claimed, []byte("theirs")
			}
			if err := errors.Join(i.Add(x), i.End()); err != nil {
				t.Fatal(err)
			}
			body := find(t, *tapes)
			data := bytes.Clone(body.Data)
			for _, ref := range body.Parts {
				data = append(data, part(t, *tapes, ref).Data...)
			}
			if body.Kept != test.kept || body.Size != test.size || !bytes.Equal(data, long[:test.kept]) || len(body.Data) > events.BodyInline {
				t.Errorf("kept %d, size %d, data %d, want %d of %d", body.Kept, body.Size, len(data), test.kept, test.size)
			}
			if got := string(body.Hmac); got != test.hmac && !(test.hmac == "ours" && len(got) == 32) {
				t.Errorf("hmac %q, want %s", got, test.hmac)
			}
		})
	}
}

func find(t *testing.T, all []*events.Tape) *events.Body {
	t.Helper()
	for _, tape := range all {
		for r, err := range tape.Records() {
			if err != nil {
				t.Fatal(err)
			}
			if x := r.GetExchange(); x != nil {
				return x.Response.Body
			}
		}
	}
	t.Fatal("no exchange in the tapes")
	return nil
}

func part(t *testing.T, all []*events.Tape, ref *events.RecordRef) *events.Part {
	t.Helper()
	for _, tape := range all {
		if string(tape.Header.TapeId) == string(ref.TapeId) {
			r, err := tape.Record(ref.Block, ref.Position)
			if err != nil {
				t.Fatal(err)
			}
			return r.GetPart()
		}
	}
	t.Fatal("a part lies in no tape")
	return nil
}

func TestImportEndsWhenATapeCannotBeKept(t *testing.T) {
	full := errors.New("full")
	i, err := capture.NewImport(capture.Config{Service: "shop"}, capture.Deps{Data: t.TempDir()}, func(*events.Workload, events.ID, []byte) error { return full })
	if err != nil {
		t.Fatal(err)
	}
	noise := make([]byte, 200_000)
	rand.NewChaCha8([32]byte{}).Read(noise) // does not compress
	for n := 0; ; n++ {
		if err := i.Add(imported(nil, bytes.Clone(noise))); errors.Is(err, full) {
			break
		} else if err != nil || n > 100 {
			t.Fatalf("after %d exchanges: %v", n, err)
		}
	}
	if err := i.End(); !errors.Is(err, full) {
		t.Errorf("End: %v", err)
	}
}

func TestImportRefusesWhatIsNoExchange(t *testing.T) {
	i, _ := importer(t, capture.Config{})
	unknown := imported(nil, nil)
	unknown.Protocol = "carrier-pigeon"
	for _, x := range []*events.Exchange{unknown, {Protocol: "http"}} {
		if err := i.Add(x); err == nil {
			t.Errorf("%v is imported", x)
		}
	}
	if c := i.Counts(); c.Begun != 0 {
		t.Errorf("counts %+v", c)
	}
}
