package capture

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"

	"tapedeck/capture/redact"
	"tapedeck/events"
	"tapedeck/internal/natstest"
	"tapedeck/wire"
	grpcwire "tapedeck/wire/grpc"
)

// spoken are the messages of a socket that says these things a pause apart,
// and what is in the tapes of them.
func spoken(t *testing.T, pause time.Duration, redacted bool, texts ...string) (all []*events.Tape, said string) {
	if _, err := events.NewBuilder(time.Now()).Close(&events.Header{}); err != nil { // its channel is of no bubble
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		r, _ := testRecorder(time.Now())
		if redacted {
			r.redactor = redact.Fixed(redact.New(redact.ThrowawayKey()))
		}
		r.publish = func(c *closedTape) {
			tape, err := events.ParseTape(c.bytes)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, tape)
		}
		socket := connection(r)
		socket.dissect(events.Side_REQUEST, time.Now(), []byte("GET /feed HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"))
		socket.dissect(events.Side_RESPONSE, time.Now(), []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"))
		for _, text := range texts {
			socket.dissect(events.Side_RESPONSE, time.Now(), append([]byte{0x81, byte(len(text))}, text...))
			for passed := time.Duration(0); passed < pause; passed += 500 * time.Millisecond {
				socket.announce(time.Now())
				r.tick(time.Now())
				time.Sleep(500 * time.Millisecond)
			}
		}
		socket.closeSide(events.Side_REQUEST, time.Now(), nil)
		socket.closeSide(events.Side_RESPONSE, time.Now(), nil)
		r.end()
	})
	return all, saidIn(t, all)
}

func saidIn(t *testing.T, all []*events.Tape) string {
	t.Helper()
	var said []string
	for _, tape := range all {
		for record, err := range tape.Records() {
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range record.GetSegment().GetMessages() {
				said = append(said, string(m.Data))
			}
		}
	}
	return strings.Join(said, "|")
}

// A value is found over the border of segments too; what was written when the
// rest came is all that stays of it.
func TestValuesOverSegments(t *testing.T) {
	for _, test := range []struct {
		pause         time.Duration
		first, second bool // what stays
	}{{0, false, false}, {time.Second, false, false}, {1500 * time.Millisecond, false, false}, {5 * time.Second, true, false}} {
		_, said := spoken(t, test.pause, true, "to ada.lovelace@exam", "ple.com and on", "bye")
		if strings.Contains(said, "ada.lovelace") != test.first || strings.Contains(said, "ple.com") != test.second || strings.Count(said, "|") != 2 || !strings.HasSuffix(said, " and on|bye") {
			t.Errorf("%s between: %q", test.pause, said)
		}
	}
}

// Places of segments that wait are those that they are written to.
func TestSegmentsThatWaitAreFound(t *testing.T) {
	all, said := spoken(t, 700*time.Millisecond, true, "a", "b", "c", "d", "e")
	if said != "a|b|c|d|e" {
		t.Errorf("said %q", said)
	}
	x := exchangeIn(t, all)
	if len(x.Segments) < 2 || x.Response.Body.Kept != x.Response.Body.Size {
		t.Errorf("%d segments, %d of %d kept", len(x.Segments), x.Response.Body.Kept, x.Response.Body.Size)
	}
	for _, place := range x.Segments {
		tape, err := events.IDFrom(place.TapeId)
		if err != nil || !bytes.Contains(tapeOf(t, all, tape), []byte("segment")) {
			t.Errorf("place %v: %v", place, err)
		}
	}
}

func exchangeIn(t *testing.T, all []*events.Tape) (x *events.Exchange) {
	t.Helper()
	for _, tape := range all {
		for record, err := range tape.Records() {
			if err != nil {
				t.Fatal(err)
			}
			if found := record.GetExchange(); found != nil {
				x = found
			}
		}
	}
	return x
}

// tapeOf says what records are in a tape.
func tapeOf(t *testing.T, all []*events.Tape, id events.ID) (kinds []byte) {
	t.Helper()
	for _, tape := range all {
		if tape.TapeID() != id {
			continue
		}
		for record, err := range tape.Records() {
			if err != nil {
				t.Fatal(err)
			}
			if record.GetSegment() != nil {
				kinds = append(kinds, "segment "...)
			}
		}
	}
	return kinds
}

// What was recorded openly is redacted afterwards over messages as well.
func TestRewriteOverMessages(t *testing.T) {
	all, said := spoken(t, 0, false, "to ada.lovelace@exam", "ple.com and on")
	if !strings.Contains(said, "ada.lovelace@exam|ple.com") {
		t.Fatalf("recorded %q", said)
	}
	file, _ := keyFile(t, time.Now().Add(time.Hour))
	keys, err := redact.OpenKeys(file)
	if err != nil {
		t.Fatal(err)
	}
	engines, err := redact.NewOffline(keys, &redact.Rules{}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for pass := range 2 {
		r := NewRewriter(engines, func(context.Context, *events.Workload, *events.Exchange, *events.Body) ([]byte, error) {
			return nil, nil
		})
		for i, tape := range all {
			if err := r.Look(tape); err != nil {
				t.Fatal(err)
			}
			b, err := r.Tape(t.Context(), tape)
			if err != nil {
				t.Fatal(err)
			}
			if all[i], err = events.ParseTape(b); err != nil {
				t.Fatal(err)
			}
		}
		if again := saidIn(t, all); pass > 0 && again != said || !strings.HasSuffix(again, "@redacted.invalid| and on") || strings.Contains(again, "lovelace") {
			t.Errorf("pass %d: %q, before %q", pass, again, said)
		}
		said = saidIn(t, all)
	}
}

// Fields of a call through capture are redacted by the names that its
// descriptors have.
func TestFieldsByNameOfCalls(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	healthServer(t, l, make(chan string, 100))
	data, from := t.TempDir(), t.TempDir()
	if err := grpcwire.WriteSet(from, &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{protodesc.ToFileDescriptorProto(grpc_health_v1.File_grpc_health_v1_health_proto)}}); err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(from, "*"))
	rules := filepath.Join(from, "rules.yaml")
	if err := os.WriteFile(rules, []byte("rules: [{name: services, path: service, in: [grpc]}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, named := range []bool{true, false} {
		cfg := Config{Inbound: []string{"0=" + l.Addr().String()}, RedactRules: rules, Redact: "on"}
		if named {
			cfg.GRPCDescriptors = files
		} else {
			data = t.TempDir()
		}
		_, js := natstest.New(t)
		c := start(t, cfg, Deps{JS: js, Data: data})
		conn, err := grpc.NewClient("passthrough:///"+c.Addrs()[0].String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := grpc_health_v1.NewHealthClient(conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: "vault"}); status.Code(err) != codes.NotFound {
			t.Errorf("got %v, want not found", err)
		}
		conn.Close()
		c.stop()
		out := play(t, tapesOf(t, js))
		x := out.exchanges[len(out.exchanges)-1]
		sent := &grpc_health_v1.HealthCheckRequest{}
		if err := proto.Unmarshal(x.Request.Body.Data[5:], sent); err != nil {
			t.Fatal(err)
		}
		if wire.IsToken(sent.Service) != named || (sent.Service == "vault") == named {
			t.Errorf("descriptors %v: service %q", named, sent.Service)
		}
		if named && (len(x.Redactions) == 0 || x.Redactions[0].Place != "request.body.service") {
			t.Errorf("marks %v", x.Redactions)
		}
	}
}
