package cli

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	googlegrpc "google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"

	"tapedeck/archiver/tapes"
	"tapedeck/capture"
	"tapedeck/cli/formats"
	"tapedeck/events"
	"tapedeck/internal/service"
	"tapedeck/wire/grpc"
)

// streamTape writes a stream of two segments and, when ended, its exchange.
func streamTape(t *testing.T, folder string, ended bool) events.ID {
	t.Helper()
	at := time.Now().Add(-time.Minute)
	id, source := events.NewID(at), events.NewID(at)
	b := events.NewBuilder(at)
	message := func(side events.Side, kind, data string, size int) *events.Message {
		return &events.Message{Side: side, Time: at.UnixNano(), Type: kind, Data: []byte(data), Size: int64(size)}
	}
	add := func(g *events.Segment) *events.RecordRef {
		ref, err := b.AddSegment(g)
		if err != nil {
			t.Fatal(err)
		}
		return ref
	}
	first := add(&events.Segment{ExchangeId: id[:], Messages: []*events.Message{
		message(events.Side_REQUEST, "text", `{"ask":1}`, 9), message(events.Side_RESPONSE, "binary", "\x00\x1b", 2)}})
	second := add(&events.Segment{ExchangeId: id[:], Number: 1, Previous: first, Messages: []*events.Message{
		message(events.Side_RESPONSE, "text", "long", 4096), message(events.Side_RESPONSE, "close", "\x03\xe8bye\x1b", 6)}})
	entry := &events.Entry{Id: id[:], Time: uint64(at.UnixNano()), Path: "/chat", Status: "101"}
	endpoint := &events.Endpoint{Direction: events.Direction_INBOUND, Protocol: "websocket", Method: "GET", Template: "/chat"}
	if ended {
		x := &events.Exchange{Id: id[:], Protocol: "websocket", Segments: []*events.RecordRef{first, second},
			Request:  &events.Request{Method: "GET", Target: "/chat", Version: "HTTP/1.1", Body: &events.Body{Size: 9, Kept: 9}},
			Response: &events.Response{Status: "101", Reason: "Switching Protocols", Body: &events.Body{Size: 4104, Kept: 12}}}
		if err := b.AddExchange(entry, endpoint, x); err != nil {
			t.Fatal(err)
		}
	} else {
		b.AddOpen(entry, endpoint, second)
	}
	raw, err := b.Close(&events.Header{SourceId: source[:], Number: 1, ClosedAt: time.Now().UnixNano(), Workload: &events.Workload{Cluster: "local", Namespace: "default", Service: "shop"}})
	if err != nil {
		t.Fatal(err)
	}
	tape, err := events.ParseTape(raw)
	if err != nil {
		t.Fatal(err)
	}
	archive, err := tapes.Open(t.Context(), folder)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := archive.PutTape(t.Context(), tape); err != nil {
		t.Fatal(err)
	}
	return id
}

func TestShowPrintsMessages(t *testing.T) {
	for _, ended := range []bool{true, false} {
		folder := t.TempDir()
		id := streamTape(t, folder, ended)
		env, out := captured()
		show := trafficShow{ID: id.String(), Flags: service.Flags{Archive: folder}}
		if err := show.Run(t.Context(), env); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{`▶ text {"ask":1}`, "◀ binary 2 B\n  00000000  00 1b", "◀ text long\n  (4 B of 4 KiB were kept)", "◀ close 1000 bye"} {
			if !strings.Contains(out.String(), want) || strings.Contains(out.String(), "\x1b") {
				t.Errorf("ended %v: no %q in\n%s", ended, want, out)
			}
		}
		if open := strings.Contains(out.String(), "still open"); open == ended {
			t.Errorf("ended %v, shown as open %v", ended, open)
		}
		for text, want := range map[string]bool{"ASK": true, "nothing": false} {
			env, out := captured()
			list := trafficList{Limit: 10, trafficFlags: trafficFlags{Text: text, Output: "table", Flags: service.Flags{Archive: folder}}}
			if err := list.Run(t.Context(), env); err != nil || strings.Contains(out.String(), "/chat") != (want && ended) {
				t.Errorf("ended %v, --text %s: %v\n%s", ended, text, err, out)
			}
		}
		env, out = captured()
		show.Output = "json"
		if err := show.Run(t.Context(), env); err != nil {
			t.Fatal(err)
		}
		var got struct {
			Messages []struct {
				From, Type, Text string
				JSON             json.RawMessage
				Size             int64
			}
		}
		if err := json.Unmarshal(out.Bytes(), &got); err != nil || len(got.Messages) != 4 || string(got.Messages[0].JSON) != `{"ask":1}` || got.Messages[2].From != "server" || got.Messages[2].Size != 4096 {
			t.Errorf("ended %v: %v, %s", ended, err, out)
		}
	}
}

// callTape writes a unary call of gRPC's health service.
func callTape(t *testing.T, folder string) events.ID {
	t.Helper()
	at := time.Now().Add(-time.Minute)
	id, source, connection := events.NewID(at), events.NewID(at), events.NewID(at)
	body := func(data string) *events.Body {
		return &events.Body{Data: []byte(data), Size: int64(len(data)), Kept: int64(len(data))}
	}
	head := []*events.Field{{Name: []byte("content-type"), Value: []byte("application/grpc")}}
	x := &events.Exchange{Id: id[:], Protocol: grpc.Name, Connection: &events.Connection{Id: connection[:]},
		Request:  &events.Request{Method: "POST", Target: "/grpc.health.v1.Health/Check", Version: "HTTP/2.0", FirstByte: at.UnixNano(), Headers: head, Body: body("\x00\x00\x00\x00\x06\x0a\x04cart")},
		Response: &events.Response{Status: "200", Version: "HTTP/2.0", Headers: head, Body: body("\x00\x00\x00\x00\x02\x08\x01")}}
	b := events.NewBuilder(at)
	entry := &events.Entry{Id: id[:], Time: uint64(at.UnixNano()), Path: x.Request.Target, Status: "OK"}
	endpoint := &events.Endpoint{Direction: events.Direction_INBOUND, Protocol: grpc.Name, Method: "Check", Template: x.Request.Target}
	if err := b.AddExchange(entry, endpoint, x); err != nil {
		t.Fatal(err)
	}
	raw, err := b.Close(&events.Header{SourceId: source[:], Number: 1, ClosedAt: time.Now().UnixNano(), Workload: &events.Workload{Cluster: "local", Namespace: "default", Service: "shop"}})
	if err != nil {
		t.Fatal(err)
	}
	tape, err := events.ParseTape(raw)
	if err != nil {
		t.Fatal(err)
	}
	archive, err := tapes.Open(t.Context(), folder)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := archive.PutTape(t.Context(), tape); err != nil {
		t.Fatal(err)
	}
	return id
}

// The messages of a call have numbers for names, until descriptors are there:
// given, kept by capture, or from the server.
func TestShowNamesTheFieldsOfCalls(t *testing.T) {
	folder, kept, empty := t.TempDir(), t.TempDir(), t.TempDir()
	id := callTape(t, folder)
	set := &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{protodesc.ToFileDescriptorProto(grpc_health_v1.File_grpc_health_v1_health_proto)}}
	if err := grpc.WriteSet(capture.DescriptorsFolder(kept), set); err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(capture.DescriptorsFolder(kept), "*"))
	server := googlegrpc.NewServer()
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	reflection.Register(server)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	defer func() { server.Stop(); <-served }()
	const named, numbered = `message {"status":"SERVING"}`, `message {"1":1}`
	for name, test := range map[string]struct {
		data string
		from descriptorFlags
		want string
	}{
		"none":       {empty, descriptorFlags{}, numbered},
		"kept":       {kept, descriptorFlags{}, named},
		"files":      {empty, descriptorFlags{GRPCDescriptors: files}, named},
		"reflection": {empty, descriptorFlags{GRPCReflection: []string{l.Addr().String()}}, named},
	} {
		show := trafficShow{ID: id.String(), Flags: service.Flags{Archive: folder, Data: test.data}, descriptorFlags: test.from}
		env, out := captured()
		if err := show.Run(t.Context(), env); err != nil || !strings.Contains(out.String(), "◀ "+test.want) || strings.Contains(out.String(), "00000000") {
			t.Errorf("%s: %v, no %q in\n%s", name, err, test.want, out)
		}
		env, out = captured()
		show.Output = "json"
		if err := show.Run(t.Context(), env); err != nil || !strings.Contains(out.String(), `"json":`+strings.TrimPrefix(test.want, "message ")) || !strings.Contains(out.String(), `"size":2`) {
			t.Errorf("%s, as JSON: %v\n%s", name, err, out)
		}
	}
	show := trafficShow{ID: id.String(), Flags: service.Flags{Archive: folder, Data: empty}, descriptorFlags: descriptorFlags{GRPCDescriptors: []string{"/nowhere"}}}
	env, _ := captured()
	if err := show.Run(t.Context(), env); err == nil || service.HintOf(err) == "" {
		t.Errorf("a missing file: %v", err)
	}
}

func TestListShowsOperations(t *testing.T) {
	for template, want := range map[string]string{"/graphql query GetCart": "/graphql query GetCart", "/graphql": "/graphql", "{overflow}": "/graphql"} {
		if got := listedPath(&events.Row{Path: "/graphql", Template: template}); got != want {
			t.Errorf("%s: got %q, want %q", template, got, want)
		}
	}
}

// A HAR file has calls as the HTTP/2 that they are, with named messages beside,
// and is imported again.
func TestExportNamesTheFieldsOfCalls(t *testing.T) {
	folder, data := t.TempDir(), t.TempDir()
	callTape(t, folder)
	set := &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{protodesc.ToFileDescriptorProto(grpc_health_v1.File_grpc_health_v1_health_proto)}}
	if err := grpc.WriteSet(capture.DescriptorsFolder(data), set); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "calls.har")
	env, _ := captured()
	if err := (&exportCommand{Flags: service.Flags{Archive: folder, Data: data}, Limit: 10, Output: file}).Run(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"json":{"service":"cart"}`, `"json":{"status":"SERVING"}`, `"text":"AAAAAAYKBGNhcnQ="`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("no %s in\n%s", want, b)
		}
	}
	again := 0
	imported, err := capture.NewImport(capture.Config{Service: "shop"}, capture.Deps{Data: data}, func(*events.Workload, events.ID, []byte) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	for x, err := range formats.Read(formats.HAR, file, bytes.NewReader(b), formats.Options{}) {
		if again++; err != nil || x.Protocol != grpc.Name || string(x.Request.Body.Data) != "\x00\x00\x00\x00\x06\x0a\x04cart" {
			t.Errorf("read again: %v, %v", x, err)
		}
		if err := imported.Add(x); err != nil {
			t.Error(err)
		}
	}
	if err := imported.End(); err != nil || again != 1 || imported.Counts().Taped != 1 {
		t.Errorf("%d exchanges are read again, %d taped, %v, want 1", again, imported.Counts().Taped, err)
	}
}
